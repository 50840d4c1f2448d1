"""The stages of a training: how its steps are shared out, and the learning rate in each.

The first is dense; every compression step with a training of its own is followed by one. What differs between them is
in their rows of `compressors.steps`.
"""

from __future__ import annotations

import itertools
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
    steps that are applied before it, in order; it has the name of the last of them.
    """

    name: str
    steps: int
    start: float = 0.0
    stop: float = 1.0
    requests: tuple[Request, ...] = ()

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
    return tuple(Stage(*row) for row in zip(batches, counts, starts, ends, batches.values(), strict=True))


def trailing_requests(plan: CompressionPlan) -> tuple[Request, ...]:
    """The steps that are applied when all stages are over, since no training follows them."""
    requests = requests_of(plan)
    return requests[sum(len(batch) for batch in requests_by_stage(requests).values()) :]


def learning_rate(recipe: Recipe, stage: Stage, progress: float) -> float:
    """The rate at `progress` in [0, 1) of a stage."""
    how = stage.retraining
    if recipe.cycle == "stage":
        return recipe.peak_learning_rate * how.peak * rate_factor(recipe, progress)
    factor = rate_factor(recipe, stage.start + progress * (stage.stop - stage.start))
    return recipe.peak_learning_rate * min(factor, how.ceiling)
