"""What a network computes in a step of training, by kind of arithmetic, as a row of numbers. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from compressors.steps import FIRST_STAGE, requests_of
from nas.candidates.candidate import Candidate
from nas.study import Recipe
from nas.training.shares import requests_by_stage, stage_steps
from search_spaces.layers import LayerSpec

Row = NDArray[np.float64]
TERMS = ("layers", "activations", "macs", "depthwise_macs", "weights")


def row_of(layers: Iterable[LayerSpec], batch_size: int) -> Row:
    """(5,) in the order of TERMS: layers and weights count once per step, all else once per image.

    Layers stand for calls, activations for memory that is read and written, MACs for arithmetic: depthwise ones are
    dearer, and weights are updated once.
    """
    found = np.zeros(len(TERMS))
    for layer in layers:
        is_depthwise = layer.kind == "depthwise"
        found += (
            1,
            batch_size * (layer.out_channels * layer.output_size**2),
            0 if is_depthwise else batch_size * layer.macs,
            batch_size * layer.macs if is_depthwise else 0,
            layer.weight_count,
        )
    return found


def rows_of(candidate: Candidate, *, batch_size: int, num_classes: int) -> dict[str, Row]:
    """Stage of the training -> what a step computes in it: the dense stage trains the whole network."""
    stages = requests_by_stage(requests_of(candidate.plan))
    names = accumulate(([request.step.name for request in batch] for batch in stages.values()), lambda a, b: a + b)
    return {
        stage: row_of(
            (candidate if "pruned" in applied else candidate.architecture).layers(num_classes), batch_size
        )
        for stage, applied in zip(stages, names, strict=True)
    }  # fmt: skip


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of an epoch; a last one of a single image is left out."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)


def steps_of(candidate: Candidate, recipe: Recipe, steps: int) -> Mapping[str, int]:
    """Stage -> its steps, of `steps` in all."""
    stages = [FIRST_STAGE, *(name for name in requests_by_stage(requests_of(candidate.plan)) if name != FIRST_STAGE)]
    return dict(zip(stages, stage_steps(recipe.shares, stages, steps), strict=True))
