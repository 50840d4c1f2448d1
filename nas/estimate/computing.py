"""What a network computes in a step of training, by kind of arithmetic, as a row of numbers. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from compressors.steps import requests_of, retraining_of
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
            batch_size * (layer.out_channels * layer.output_pixels),
            0 if is_depthwise else batch_size * layer.macs,
            batch_size * layer.macs if is_depthwise else 0,
            layer.weight_count,
        )
    return found


def rows_of(candidate: Candidate, *, batch_size: int, num_classes: int) -> dict[str, Row]:
    """Stage of the training -> what a step computes in it: the dense stage trains the whole network."""
    stages = requests_by_stage(requests_of(candidate.plan))
    names = accumulate([request.step.name for request in batch] for batch in stages.values())
    return {
        stage: row_of(_after(candidate, applied).layers(num_classes), batch_size)
        for stage, applied in zip(stages, names, strict=True)
    }


def _after(candidate: Candidate, applied: Collection[str]) -> Candidate:
    """The candidate when only these steps are applied."""
    plan = candidate.plan
    steps = {name: decisions for name, decisions in plan.steps.items() if name in applied}
    return candidate.resulting(
        plan.model_copy(update={"kept": plan.kept if "pruned" in applied else {}, "steps": steps})
    )


@dataclass(frozen=True)
class Course:
    """How long a candidate is trained: by which recipe, for how many epochs, with how many images.

    `input_size` is the side of the images before quantization-aware training, where it is smaller than the
    candidate's own.
    """

    recipe: Recipe
    epochs: float
    train_images: int
    input_size: int | None = None

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, self.train_images)

    @property
    def steps(self) -> int:
        return round(self.epochs * steps_per_epoch(self.train_images, self.batch_size))


@dataclass(frozen=True)
class Computed:
    """A whole training: what a step computes in each stage, and the steps of each, in order."""

    rows: Mapping[str, Row]
    steps: Mapping[str, int]

    def after(self, share: float = 0.0) -> dict[str, Row]:
        """Stage -> what is computed in it when a share of all steps is over."""
        over, left = share * sum(self.steps.values()), dict[str, Row]()
        for stage, row in self.rows.items():
            done = min(over, self.steps[stage])
            left[stage] = (self.steps[stage] - done) * row
            over -= done
        return left


def computed_by(candidate: Candidate, course: Course, num_classes: int) -> Computed:
    """What training the candidate computes."""
    rows = rows_of(candidate, batch_size=course.batch_size, num_classes=num_classes)
    if course.input_size is not None and course.input_size < candidate.architecture.input_size:
        resized = candidate.architecture.model_copy(update={"input_size": course.input_size})
        small = candidate.model_copy(update={"architecture": resized})
        smaller = rows_of(small, batch_size=course.batch_size, num_classes=num_classes)
        rows = {stage: row if retraining_of(stage).in_fp32 else smaller[stage] for stage, row in rows.items()}
    counts = stage_steps(course.recipe.shares, list(rows), course.steps)
    return Computed(rows, dict(zip(rows, counts, strict=True)))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of an epoch; a last one of a single image is left out."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)
