"""`nas check`: what a study spans, by closed forms alone."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from compressors.plan import BITS
from nas.candidate import Candidate, sample, space_size
from nas.data import class_count
from nas.errors import InputError
from nas.records import QUALITIES
from nas.study import Study
from search_spaces.spaces import Pick, Space, first, last, middle

CROWDED, TRIALS_FOR_MANY = 3, 200


def corners(study: Study) -> dict[str, Candidate]:
    """The smallest network with the strongest compression, the middle of every choice, the largest without any.

    Where stages choose among kinds of blocks, the smallest and the largest are those of a single kind.
    """
    compression = study.compression.model_copy(
        update={
            "pruning_ratio": tuple(sorted(study.compression.pruning_ratio, reverse=True)),
            "weight_format": tuple(sorted(study.compression.weight_format, key=BITS.__getitem__)),
        }
    )

    def corner(pick: Callable[[Sequence[Any]], Any], space: Space) -> Candidate:
        return sample(Pick(pick), space, compression, input_channels=study.data.input_channels)

    def size(candidate: Candidate) -> int:
        return candidate.parameters(1)

    kinds = study.space.of_one_kind()
    return {
        "smallest": min((corner(first, kind) for kind in kinds), key=size),
        "middle": corner(middle, study.space),
        "largest": max((corner(last, kind) for kind in kinds), key=size),
    }


def reference_candidate(study: Study) -> Candidate:
    """The teacher of all candidates: the network in the file the study names, or the space's largest; uncompressed."""
    options = study.training.distillation
    if options is None or options.architecture is None:
        return Candidate(architecture=corners(study)["largest"].architecture)
    try:
        text = Path(os.path.expandvars(options.architecture)).expanduser().read_text()
        named = Candidate.from_json(json.loads(text)).architecture
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"training.distillation.architecture: expected a candidate.json, got {reason}") from None
    expected = (study.space.input_sizes[-1], study.data.input_channels)
    if (named.input_size, named.input_channels) != expected:
        raise InputError(
            f"training.distillation.architecture: expected images of size and channels {expected}, "
            f"got {(named.input_size, named.input_channels)}"
        )
    return Candidate(architecture=named)


def closed_form_costs(candidate: Candidate, num_classes: int) -> dict[str, int]:
    """Costs known without building anything; the bytes are those of weights and biases, less than the file's."""
    return {
        "parameters": candidate.parameters(num_classes),
        "macs": candidate.macs(num_classes),
        "size_bytes": candidate.weight_bytes(num_classes),
    }


def check_table(study: Study) -> Table:
    """The three networks with their costs."""
    size, classes = space_size(study.space, study.compression), class_count(study.data)
    title = f"{study.name}: about 10^{math.log10(size):.1f} candidates, {study.search.trials} trials"
    table = Table(title=title, caption=f"Closed forms, {classes} classes. Bytes of weights and biases alone.")
    for column in ("network", "parameters", "MACs", "bytes"):
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for name, candidate in corners(study).items():
        table.add_row(name, *(f"{cost:,}" for cost in closed_form_costs(candidate, classes).values()))
    return table


def warnings_of(study: Study) -> list[str]:
    """Choices that cannot do what they seem to."""
    found = []
    rewarded = {*study.objectives, *study.constraints}
    if len(study.compression.weight_format) > 1 and not rewarded & {"size_bytes", "latency_ms", "peak_memory_bytes"}:
        found.append("compression.weight_format: no objective or constraint rewards fewer bits (size_bytes would)")
    if len(study.compression.pruning_ratio) > 1 and rewarded <= set(QUALITIES):
        found.append("compression.pruning_ratio: no objective or constraint rewards a smaller network")
    if len(study.objectives) > CROWDED and study.search.trials < TRIALS_FOR_MANY:
        found.append(
            f"objectives: with {len(study.objectives)} of them and {study.search.trials} trials nearly every candidate "
            f"is best at something, so the front leaves little out; take {CROWDED}, or {TRIALS_FOR_MANY} trials or more"
        )
    least = closed_form_costs(corners(study)["smallest"], class_count(study.data))
    for name, limit in study.constraints.items():
        if limit.max < least.get(name, 0):
            found.append(f"constraints.{name}.max: {limit.max:g} is below the smallest network's {least[name]:,}")
    return found
