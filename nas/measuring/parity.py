"""Parity: whether the runtime computes what the torch network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nas.candidates.candidate import Candidate
from nas.errors import CandidateFailed, TrainingDiverged
from nas.measuring.costs import layer_reports
from nas.measuring.scoring import as_float
from nas.records import Parity
from nas.runtimes.onnxruntime import Array, Runner, integer_layers
from nas.training.inference import predict
from nas.workbench import Workbench

PARITY_IMAGES = 512
GRID_STEPS, FLOAT_TOLERANCE = 3, 0.01


class ParityBroken(CandidateFailed, RuntimeError):
    """The runtime's logits are not finite, or its accuracy is more than a point away from the network's."""


def check(file: Path, network: nn.Module, candidate: Candidate, bench: Workbench) -> dict[str, Any]:
    """Which layers run as integers, and whether the runtime computes what the network does.

    Raises ParityBroken where their accuracies differ by more than a point, and more than one image.
    """
    ran = integer_layers(file, bench.study.target)
    asked = tuple(candidate.plan.formats)
    images = bench.data.validation.spread(PARITY_IMAGES)
    reference = predict(network, torch.from_numpy(images.images)).numpy()
    shipped = Runner(file, bench.study.target).predict(as_float(images.images))
    parity = compare(reference, shipped, images.labels, integer_head="classifier" in candidate.plan.formats)
    if parity.is_broken:
        raise ParityBroken(f"parity broken: accuracy in runtime and torch differ by {parity.accuracy_difference:.1%}")
    return {
        "asked_integer": asked,
        "ran_integer": tuple(name for name in asked if name in ran),
        "parity": parity,
        "layers": layer_reports(candidate, len(bench.data.class_names), ran),
        "flags": () if parity.holds else ("parity",),
    }


def compare(reference: Array, shipped: Array, labels: Array, *, integer_head: bool) -> Parity:
    """Agreement of two sets of logits (N, classes).

    The tolerance is three steps of an 8-bit grid over the logits' range, or 1 % of it after a float head. A
    disagreement counts as clear where the reference's margin exceeds twice the tolerance: differences within it cannot
    turn such a margin over. Raises TrainingDiverged where the network's own logits are not finite, ParityBroken where
    those of the runtime alone are not.
    """
    if not np.isfinite(reference).all():
        raise TrainingDiverged("NaN or infinity in the network's logits")
    if not np.isfinite(shipped).all():
        raise ParityBroken("parity broken: NaN or infinity in the runtime's logits, none in torch's")
    span = float(reference.max() - reference.min()) or 1.0
    tolerance = span * (GRID_STEPS / 255 if integer_head else FLOAT_TOLERANCE)
    difference = np.abs(reference - shipped)
    first, second = reference.argmax(1), shipped.argmax(1)
    top = np.sort(reference, axis=1)
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
