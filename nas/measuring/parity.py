"""Parity: whether a runtime computes what the torch network does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.errors import CandidateFailed, TrainingDiverged
from nas.measuring.costs import layer_reports
from nas.measuring.scoring import as_float
from nas.records import PARITY, Parity, Verification, parity_at
from nas.runtimes.runtime import Array, Runner, RuntimeRefused, opened_here, opens_here, runtime_of
from nas.study import Target

GRID_STEPS, FLOAT_TOLERANCE = 3, 0.01


class ParityBroken(CandidateFailed, RuntimeError):
    """The runtime's logits are not finite, or its accuracy is more than a point away from the network's."""


def verify(
    files: Mapping[str, Path],
    targets: Sequence[Target],
    candidate: Candidate,
    images: Images,
    *,
    expected: Array,
    num_classes: int,
) -> Verification:
    """Which layers run as integers on the first target, and whether every runtime computes what the network does.

    `files` are by target's name; `expected` are torch's logits (N, classes) of `images`. Targets after the first are
    checked where their runtime or provider is another, if it can be opened here; what is wrong there flags them alone.
    Raises ParityBroken where accuracies on the first target differ by more than a point, and more than one image.
    """
    first, *others = targets
    integer_head = has_integer_head(candidate, num_classes)
    here = opened_here(first)
    parity = parity_of(runtime_of(first).open(files[first.name], here), images, expected, integer_head=integer_head)
    if parity.is_broken:
        raise ParityBroken(f"parity broken: accuracy in runtime and torch differ by {parity.accuracy_difference:.1%}")
    ran = runtime_of(first).integer_layers(files[first.name], here)
    asked = candidate.integer_layers(num_classes)
    checked = [target for target in _unlike(first, others) if opens_here(target)]
    found = {t: _checked(files[t.name], t, images, expected, integer_head=integer_head) for t in checked}
    broken = [target for target, other in found.items() if not (other and other.holds)]
    doubtful = [target.name for target in others if any(_alike(target, wrong) for wrong in broken)]
    return Verification(
        asked_integer=asked,
        ran_integer=tuple(name for name in asked if name in ran),
        parity=parity,
        other_parity={target.name: other for target, other in found.items() if other is not None},
        layers=layer_reports(candidate, num_classes, ran, runtime_of(first).zeros(files[first.name]).layers),
        flags=(*(() if parity.holds else (PARITY,)), *map(parity_at, doubtful)),
    )


def has_integer_head(candidate: Candidate, num_classes: int) -> bool:
    """Whether the layer that gives the logits has weights of integers."""
    return candidate.layers(num_classes)[-1].name in candidate.integer_layers(num_classes)


def parity_of(runner: Runner, images: Images, expected: Array, *, integer_head: bool) -> Parity:
    """Agreement of a loaded file with torch's logits of the same images."""
    return compare(expected, runner.predict(as_float(images.images)), images.labels, integer_head=integer_head)


def _checked(file: Path, target: Target, images: Images, expected: Array, *, integer_head: bool) -> Parity | None:
    """Parity on a target after the first; None where its runtime refuses the file or gives NaN."""
    try:
        return parity_of(
            runtime_of(target).open(file, opened_here(target)), images, expected, integer_head=integer_head
        )
    except (RuntimeRefused, ParityBroken):
        return None


def _alike(one: Target, other: Target) -> bool:
    return (one.runtime, one.provider) == (other.runtime, other.provider)


def _unlike(first: Target, others: Sequence[Target]) -> list[Target]:
    """The first target of every further runtime and provider."""
    found = [first]
    for target in others:
        if not any(_alike(target, known) for known in found):
            found.append(target)
    return found[1:]


def compare(expected: Array, shipped: Array, labels: Array, *, integer_head: bool) -> Parity:
    """Agreement of two sets of logits (N, classes): torch's and the runtime's.

    The tolerance is three steps of an 8-bit grid over the range of the expected logits, or 1 % of it after a float
    head. A disagreement counts as clear where the expected margin exceeds twice the tolerance: differences within it
    cannot turn such a margin over.
    Raises TrainingDiverged where torch's logits are not finite, ParityBroken where those of the runtime alone are not.
    """
    if not np.isfinite(expected).all():
        raise TrainingDiverged("NaN or infinity in the network's logits")
    if not np.isfinite(shipped).all():
        raise ParityBroken("parity broken: NaN or infinity in the runtime's logits, none in torch's")
    span = float(expected.max() - expected.min()) or 1.0
    tolerance = span * (GRID_STEPS / 255 if integer_head else FLOAT_TOLERANCE)
    difference = np.abs(expected - shipped)
    first, second = expected.argmax(1), shipped.argmax(1)
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * tolerance
    right = [float((guess == labels).mean()) for guess in (first, second)]
    return Parity(
        images=len(labels),
        max_difference=float(difference.max()),
        tolerance=tolerance,
        within_tolerance=float((difference <= tolerance).mean()),
        argmax_agreement=float((first == second).mean()),
        clear_margin_disagreements=int(((first != second) & clear).sum()),
        accuracy_difference=abs(right[0] - right[1]),
    )
