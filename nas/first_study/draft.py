"""A study of which all is decided but its input size and its numbers, and those that fit into the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.estimate import Estimate, Speed, estimate, expected_candidates
from nas.estimate.words import duration
from nas.first_study.budget import Fitted, Numbers, fit, numbers_at
from nas.first_study.choices import Choice, overridden, settings_of
from nas.first_study.document import document
from nas.first_study.pictures import smaller_sizes
from nas.first_study.proposal import Found, Sized, study_choices
from nas.first_study.spaces import Base
from nas.study import Study
from nas.study.effort import Effort
from nas.study.file import override_settings, parse_study

LEAST = 0.0


@dataclass(frozen=True)
class Draft:
    """What a study is made of. overrides: the user's KEY=VALUE, which go before every choice; out: its file.

    base: the network that is searched, where it exists already.
    """

    name: str
    found: Found
    data: Sequence[Choice]
    effort: Effort
    target: str
    workers: int
    out: Path
    overrides: Sequence[str] = ()
    base: Base | None = None

    def choices(self, sized: Sized, numbers: Numbers, speed: Speed | None = None) -> list[Choice]:
        """All choices, the user's included; with a `speed` also those that latencies suggest."""
        own = self._own(sized, numbers, speed)
        return overridden(own, override_settings(settings_of(own), self.overrides))

    def study(self, sized: Sized, numbers: Numbers) -> Study:
        """The study of these choices. Raises InputError, which says so, where the user's cannot be used."""
        return parse_study(document(self._own(sized, numbers, None), self.name), self.out, self.overrides)

    def _own(self, sized: Sized, numbers: Numbers, speed: Speed | None) -> list[Choice]:
        return study_choices(
            self.name, self.found, self.data, sized=sized, numbers=agreeing(numbers, self.overrides),
            target=self.target, workers=self.workers, known=() if speed is None else speed.known,
            base=self.base,
        )  # fmt: skip

    def least(self, sized: Sized, images: int) -> Study:
        """The study with the least numbers that make sense for so many training images."""
        return self.study(sized, numbers_at(LEAST, self.effort, images))

    @property
    def may_shrink(self) -> bool:
        """Whether the input size is this module's to choose: not that of a network that exists, which may take one."""
        return self.base is None and not any(override.lstrip().startswith("space") for override in self.overrides)


def agreeing(numbers: Numbers, overrides: Sequence[str]) -> Numbers:
    """The numbers with epochs that agree with those the user asked for: a trial is no longer than a finalist."""
    asked = override_settings({}, [one for one in overrides if one.split("=")[0].strip().endswith(".epochs")])
    epochs = {section: keys.get("epochs") for section, keys in asked.items()}
    final, trial = epochs.get("finals") or epochs.get("training"), epochs.get("search")
    if isinstance(final, int):
        return replace(numbers, epochs=min(numbers.epochs, final))
    if isinstance(trial, int):
        return replace(numbers, final_epochs=max(numbers.final_epochs, trial))
    return numbers


@dataclass(frozen=True)
class Timed:
    """An input size with what was probed at it, and the numbers that fit."""

    sized: Sized
    speed: Speed = field(repr=False)
    fitted: Fitted


def fit_into(
    draft: Draft, sized: Sized, budget_s: float, *, images: int, num_classes: int, speed_of: Callable[[Study], Speed]
) -> Timed:
    """The numbers that fit into the budget, on smaller images where even the least do not.

    A size that cannot fit by what was probed at a larger one is not probed, unless it is the smallest.
    """
    facts = _Facts(draft, budget_s, images, num_classes)
    found = facts.timed(sized, speed_of)
    sizes = smaller_sizes(sized.size) if draft.may_shrink else ()
    for size in sizes:
        if found.fitted.seconds <= budget_s:
            break
        reason = f"; at {found.sized.size} the least that makes sense takes about {duration(found.fitted.seconds)} here"
        smaller = Sized(size, reason, is_timed=True)
        if size == sizes[-1] or facts.fitted(smaller, found.speed).seconds <= budget_s:
            found = facts.timed(smaller, speed_of)
    return found


@dataclass(frozen=True)
class _Facts:
    """What does not change from one input size to another."""

    draft: Draft
    budget_s: float
    images: int
    num_classes: int

    def timed(self, sized: Sized, speed_of: Callable[[Study], Speed]) -> Timed:
        speed = speed_of(self.draft.least(sized, self.images))
        return Timed(sized, speed, self.fitted(sized, speed))

    def fitted(self, sized: Sized, speed: Speed) -> Fitted:
        least = self.draft.least(sized, self.images)
        expected = expected_candidates(least, num_classes=self.num_classes, known=speed.known)

        def estimated(numbers: Numbers) -> Estimate:
            study = self.draft.study(sized, numbers)
            most = min(self.images, study.data.train_images or self.images)
            return estimate(study, speed, train_images=most, num_classes=self.num_classes, expected=expected)

        return fit(estimated, self.budget_s, self.draft.effort, self.images)
