"""Candidates a study knows without drawing: its smallest, middle and largest network, and its teacher."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compressors.plan import BITS
from nas.candidates.candidate import Candidate
from nas.candidates.low_rank import share_left
from nas.candidates.sampling import sample_of
from nas.errors import InputError
from nas.study import Compression, Distillation, Study
from nas.study.masking import strength
from search_spaces.existing.known import remember_near
from search_spaces.protocols import SpaceLike
from search_spaces.trials import Pick, first, last, middle

CANDIDATE_FILE = "candidate.json"


def extreme_candidates(study: Study) -> dict[str, Candidate]:
    """The smallest network with the strongest compression, the middle of every choice, the largest without any.

    Where stages choose among kinds of blocks, the smallest and the largest are those of a single kind.
    """
    ordered = study.model_copy(update={"compression": strongest_first(study.compression)})

    def corner(pick: Callable[[Sequence[Any]], Any], space: SpaceLike) -> Candidate:
        return sample_of(Pick(pick), ordered, space)

    def size(candidate: Candidate) -> int:
        return candidate.parameters(1)

    kinds = study.space.of_one_kind()
    return {
        "smallest": min((_certain(corner(first, kind)) for kind in kinds), key=size),
        "middle": corner(middle, study.space),
        "largest": max((corner(last, kind) for kind in kinds), key=size),
    }


def strongest_first(compression: Compression) -> Compression:
    """The same choices of every key, what makes most of the network go first."""
    return compression.model_copy(
        update={
            "pruning_ratio": tuple(sorted(compression.pruning_ratio, reverse=True)),
            "mask": tuple(sorted(compression.mask_choices, key=strength, reverse=True)),
            "weight_format": tuple(sorted(compression.weight_format, key=BITS.__getitem__)),
            "remove_blocks": tuple(sorted(compression.remove_blocks, reverse=True)),
            "remove_activations": tuple(sorted(compression.remove_activations, reverse=True)),
            "low_rank": tuple(sorted(compression.low_rank_choices, key=share_left)),
        }
    )


def _certain(candidate: Candidate) -> Candidate:
    """What the candidate comes down to at the least, where that depends on weights."""
    return candidate.least(1) if candidate.depends_on_weights else candidate


def teacher_candidate(study: Study, options: Distillation | None = None) -> Candidate:
    """The teacher that is trained: the network in the file that `options` name, or the space's largest; uncompressed.

    By default they are those of `training`.
    """
    options = options or study.training.distillation
    if options is None or options.architecture is None:
        return Candidate(architecture=extreme_candidates(study)["largest"].architecture)
    try:
        named = _recorded(Path(os.path.expanduser(os.path.expandvars(options.architecture)))).architecture
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{_key(study, options)}: expected a candidate.json, got {reason}") from None
    expected = (study.space.input_sizes[-1], study.data.input_channels)
    if (named.input_size, named.input_channels) != expected:
        raise InputError(
            f"{_key(study, options)}: expected images of size and channels {expected}, "
            f"got {(named.input_size, named.input_channels)}"
        )
    return Candidate(architecture=named)


def float_candidate(folder: Path, *, key: str) -> Candidate:
    """The candidate of a finished network whose feature maps can teach. Raises InputError, beginning with `key`, where
    the folder holds none, or one whose layers hold integers.
    """
    try:
        candidate = _recorded(folder / CANDIDATE_FILE)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{key}: expected {CANDIDATE_FILE} of a network in {folder}, got {reason}") from None
    plan = candidate.plan
    if made := sorted({*plan.formats.values(), *plan.steps} - {"fp32"}):
        raise InputError(
            f"{key}: expected a float network, whose feature maps can teach, got {folder} with {', '.join(made)}"
        )
    return candidate


def _recorded(file: Path) -> Candidate:
    """The candidate that a file tells of, with the existing network that it is of. Raises what reading raises."""
    text = file.read_text(encoding="utf-8")
    remember_near(file.parent)
    return Candidate.from_json(json.loads(text))


def _key(study: Study, options: Distillation) -> str:
    """The key of the study that names the file."""
    return "training.distillation.architecture" if options == study.training.distillation else "finals.teacher"
