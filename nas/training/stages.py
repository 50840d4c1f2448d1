"""The stages of a training: how its steps are shared out, and the learning rate in each.

The first is dense; every compression step with a training of its own is followed by one. What differs between them is
in their rows of `compressors.steps`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from compressors.pipeline import Method
from compressors.plan import CompressionPlan
from compressors.steps import FIRST_STAGE, STEPS, Request, Retraining, requests_of, retraining_of
from nas.study import Recipe
from nas.training.optimization import rate_factor
from nas.training.shares import requests_by_stage, stage_steps


@dataclass(frozen=True)
class Stage:
    """A part of the training: its steps, where in the whole it lies, from `start` to `stop`, and the compression
    steps that are applied before it, in order; it has the name of the last of them. The schedule that all stages share
    ends at `annealed`; a stage that begins there has one of its own.
    """

    name: str
    steps: int
    start: float = 0.0
    stop: float = 1.0
    requests: tuple[Request, ...] = ()
    annealed: float = 1.0

    @property
    def retraining(self) -> Retraining:
        """What differs in this stage."""
        return retraining_of(self.name)

    @property
    def method(self) -> Method:
        """What is done to the network within the stage."""
        found: Method = Method() if self.name == FIRST_STAGE else STEPS[self.name].loaded()
        return found


def stages_of(recipe: Recipe, steps: int, plan: CompressionPlan) -> tuple[Stage, ...]:
    """Split the steps of a whole training by the study's shares, so that a short one has every stage of a long one."""
    batches = requests_by_stage(requests_of(plan))
    counts = stage_steps(recipe.shares, list(batches), steps)
    ends = [end / steps for end in itertools.accumulate(counts)]
    starts = [0.0, *ends[:-1]]
    tails = (start for name, start in zip(batches, starts, strict=True) if retraining_of(name).is_tail)
    annealed = next(tails, 1.0) if recipe.cycle == "tail" else 1.0
    rows = zip(batches, counts, starts, ends, batches.values(), strict=True)
    return tuple(Stage(*row, annealed=annealed) for row in rows)


def trailing_requests(plan: CompressionPlan) -> tuple[Request, ...]:
    """The steps that are applied when all stages are over, since no training follows them."""
    requests = requests_of(plan)
    return requests[sum(len(batch) for batch in requests_by_stage(requests).values()) :]


def learning_rate(recipe: Recipe, stage: Stage, progress: float) -> float:
    """The rate at `progress` in [0, 1) of a stage."""
    how, rate = stage.retraining, recipe.peak_learning_rate
    alive = how.with_norms if recipe.batch_norm == "live" else None
    peak, ceiling = alive or (how.peak, how.ceiling)
    if recipe.cycle == "stage":
        return rate * peak * rate_factor(recipe, progress)
    if stage.start >= stage.annealed:
        return rate * how.peak * 0.5 * (1 + math.cos(math.pi * progress))
    place = stage.start + progress * (stage.stop - stage.start)
    return rate * min(rate_factor(recipe, place / stage.annealed), ceiling)
