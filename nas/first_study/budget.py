"""How many trials, epochs, images and finalists fit into some minutes, by what a probe says they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.estimate import Estimate
from nas.estimate.computing import steps_per_epoch
from nas.study.effort import Effort, Span

NOTCHES = 16  # between the least and the most of an effort
LEAST_EPOCHS = 2  # of a trial: with less, the stages of training have no whole epoch between them
MOST_EPOCHS, MOST_FINAL_EPOCHS = 60, 200  # over and over the same pictures: more of them teach little
BATCHES = (16, 32, 64, 128)  # the largest of which is taken that gives some steps per epoch
STEPS_PER_EPOCH = 8


@dataclass(frozen=True)
class Numbers:
    """What a budget decides. search_images: None for all training images."""

    trials: int
    epochs: int
    search_images: int | None
    finalists: int
    final_epochs: int
    batch_size: int

    def steps(self, images: int) -> tuple[int, int]:
        """Optimizer steps of a trial and of a finalist, of `images` training images."""
        trial = min(images, self.search_images or images)
        return self.epochs * steps_per_epoch(trial, self.batch_size), self.final_epochs * steps_per_epoch(
            images, self.batch_size
        )


@dataclass(frozen=True)
class Fitted:
    """The numbers that fit, and how much of what the effort may spend they are: 0 the least, 1 the most."""

    numbers: Numbers
    share: float
    estimate: Estimate

    @property
    def seconds(self) -> float:
        """Of the whole run, the middle of the estimate."""
        return self.estimate.total.middle


def numbers_at(share: float, effort: Effort, images: int) -> Numbers:
    """The numbers at a place between the least and the most, each growing by an equal factor from notch to notch."""
    batch = max((size for size in BATCHES if images >= size * STEPS_PER_EPOCH), default=BATCHES[0])
    per_epoch = max(1, steps_per_epoch(images, batch))
    trial_steps, final_steps = between(effort.trial_steps, share), between(effort.final_steps, share)
    search_images, epochs = None, round(trial_steps / per_epoch)
    if epochs < LEAST_EPOCHS:
        epochs, search_images = LEAST_EPOCHS, min(images, round_down(trial_steps * batch // LEAST_EPOCHS))
    epochs = min(epochs, MOST_EPOCHS)
    final_epochs = max(epochs, min(round(final_steps / per_epoch), MOST_FINAL_EPOCHS))
    return Numbers(
        between(effort.trials, share),
        epochs,
        search_images if search_images is None or search_images < images else None,
        between(effort.finalists, share),
        final_epochs,
        batch,
    )


def fit(estimated: Callable[[Numbers], Estimate], budget_s: float, effort: Effort, images: int) -> Fitted:
    """The most that is expected to end within the budget; the least where nothing does."""

    def at(notch: int) -> Fitted:
        numbers = numbers_at(notch / NOTCHES, effort, images)
        return Fitted(numbers, notch / NOTCHES, estimated(numbers))

    low, high = 0, NOTCHES
    best = at(low)
    if best.seconds > budget_s:
        return best
    while low < high:  # costs grow from notch to notch
        notch = (low + high + 1) // 2
        found = at(notch)
        if found.seconds <= budget_s:
            low, best = notch, found
        else:
            high = notch - 1
    return best


def between(span: Span, share: float) -> int:
    """A whole number between the two of a span, on a scale of factors."""
    return round(span[0] * math.pow(span[1] / span[0], share))


def round_down(count: int) -> int:
    """A count of images with two digits that are not 0."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit
