"""`nas check`: what a study spans, by closed forms alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table

from nas.candidate import Candidate, sample, space_size
from nas.study import Study
from search_spaces.spaces import Pick, first, last, middle

# How many classes a data set has is known only once it is read; the classifier's share is small.
DIGITS_CLASSES = 10


def corner(study: Study, pick: Callable[[Sequence[Any]], Any]) -> Candidate:
    return sample(Pick(pick), study.space, study.compression, input_channels=study.data.input_channels)


def extremes(study: Study) -> dict[str, Candidate]:
    """The smallest network with the strongest compression, the middle of every choice, the largest without any."""
    compression = study.compression
    ratios = sorted(compression.pruning_ratio)
    formats = sorted(compression.weight_format, key=lambda fmt: int(fmt[-2:].strip("t")) if fmt != "fp32" else 32)
    weak_last = compression.model_copy(
        update={"pruning_ratio": tuple(reversed(ratios)), "weight_format": tuple(formats)}
    )
    ordered = study.model_copy(update={"compression": weak_last})
    return {"smallest": corner(ordered, first), "reference": corner(ordered, middle), "largest": corner(ordered, last)}


def check_table(study: Study) -> Table:
    """The three networks with their costs."""
    size = space_size(study.space, study.compression)
    title = f"{study.name}: about 10^{math.log10(size):.1f} candidates, {study.search.trials} trials"
    table = Table(
        title=title, caption=f"Closed forms, for {DIGITS_CLASSES} classes; bytes of weights and biases alone."
    )
    table.add_column("network")
    for column in ("parameters", "MACs", "bytes"):
        table.add_column(column, justify="right")
    for name, candidate in extremes(study).items():
        costs = (candidate.parameters(DIGITS_CLASSES), candidate.macs(DIGITS_CLASSES))
        table.add_row(name, *(f"{cost:,}" for cost in costs), f"{candidate.weight_bytes(DIGITS_CLASSES):,}")
    return table


def warnings_of(study: Study) -> list[str]:
    """Choices that cannot do what they seem to."""
    found = []
    rewarded = {*study.objectives, *study.constraints}
    if len(study.compression.weight_format) > 1 and not rewarded & {"size_bytes", "latency_ms", "peak_memory_bytes"}:
        found.append("compression.weight_format: no objective or constraint rewards fewer bits (size_bytes would)")
    if len(study.compression.pruning_ratio) > 1 and rewarded <= {"accuracy"}:
        found.append("compression.pruning_ratio: no objective or constraint rewards a smaller network")
    smallest = extremes(study)["smallest"]
    exact = {"parameters": smallest.parameters(DIGITS_CLASSES), "macs": smallest.macs(DIGITS_CLASSES)}
    exact["size_bytes"] = smallest.weight_bytes(DIGITS_CLASSES)
    for name, value in exact.items():
        limit = study.constraints.get(name)  # type: ignore[call-overload]
        if limit is not None and value > limit.max:
            found.append(f"constraints.{name}.max: {limit.max:g} is below the smallest network's {value:,}")
    return found
