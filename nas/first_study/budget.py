"""How many trials, epochs, images and finalists fit into some minutes, by what a probe says they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.estimate import Estimate
from nas.estimate.computing import steps_per_epoch
from nas.study.effort import Effort, Span

NOTCHES = 16  # between the least and the most of an effort
BATCHES = (16, 32, 64, 128)  # the largest of which is taken that gives some steps per epoch
STEPS_PER_EPOCH = 8


@dataclass(frozen=True)
class Rounds:
    """How often a training may see its images: at least so that every stage has whole epochs between its ends, at most
    so that it still learns something from them."""

    least: int
    most: int


TRIAL, FINAL = Rounds(2, 60), Rounds(4, 200)


@dataclass(frozen=True)
class Numbers:
    """What a budget decides. train_images, search_images: None for all training images there are."""

    trials: int
    epochs: int
    search_images: int | None
    finalists: int
    final_epochs: int
    train_images: int | None
    batch_size: int


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
    final_epochs, train_images = _rounds(between(effort.final_steps, share), batch, images, FINAL)
    epochs, search_images = _rounds(between(effort.trial_steps, share), batch, train_images or images, TRIAL)
    return Numbers(
        between(effort.trials, share),
        epochs,
        search_images,
        between(effort.finalists, share),
        max(epochs, final_epochs),
        train_images,
        batch,
    )


def _rounds(steps: int, batch: int, images: int, rounds: Rounds) -> tuple[int, int | None]:
    """Epochs that hold so many steps; of how many images, if all would take more."""
    per_epoch = max(1, steps_per_epoch(images, batch))
    if steps >= rounds.least * per_epoch:
        return min(math.ceil(steps / per_epoch), rounds.most), None
    few = round_down(steps * batch // rounds.least)
    return rounds.least, few if few < images else None


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
