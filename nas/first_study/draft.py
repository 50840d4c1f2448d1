"""A study of which all is decided but its input size and its numbers, and those that fit into the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.estimate import Estimate, Speed, estimate, expected_candidates
from nas.first_study.budget import Fitted, Numbers, fit, numbers_at
from nas.first_study.choices import Choice, overridden, settings_of
from nas.first_study.document import document
from nas.first_study.pictures import smaller_sizes
from nas.first_study.proposal import Found, Sized, study_choices
from nas.first_study.words import minutes
from nas.study import Study
from nas.study.effort import Effort
from nas.study.file import override_settings, parse_study

LEAST = 0.0


@dataclass(frozen=True)
class Draft:
    """What a study is made of. overrides: the user's KEY=VALUE, which go before every choice; out: its file."""

    name: str
    found: Found
    data: Sequence[Choice]
    effort: Effort
    target: str
    workers: int
    out: Path
    overrides: Sequence[str] = ()

    def choices(self, sized: Sized, numbers: Numbers, speed: Speed | None = None) -> list[Choice]:
        """All choices; with a `speed` also those that latencies suggest."""
        choices = study_choices(
            self.name, self.found, self.data, sized=sized, numbers=numbers, effort=self.effort, target=self.target,
            workers=self.workers, known=() if speed is None else speed.known,
        )  # fmt: skip
        return overridden(choices, override_settings(settings_of(choices), self.overrides))

    def study(self, sized: Sized, numbers: Numbers) -> Study:
        return parse_study(document(self.choices(sized, numbers), self.name), self.out)

    def least(self, sized: Sized, images: int) -> Study:
        """The study with the least numbers that make sense for so many training images."""
        return self.study(sized, numbers_at(LEAST, self.effort, images))

    @property
    def may_shrink(self) -> bool:
        """Whether the input size is this module's to choose."""
        return not any(override.lstrip().startswith("space") for override in self.overrides)


@dataclass(frozen=True)
class Timed:
    """An input size with what was probed at it, and the numbers that fit."""

    sized: Sized
    speed: Speed = field(repr=False)
    fitted: Fitted


def fit_into(
    draft: Draft, sized: Sized, budget_s: float, *, images: int, num_classes: int, speed_of: Callable[[Study], Speed]
) -> Timed:
    """The numbers that fit into the budget, on smaller images where even the least do not."""
    found = _fitted(draft, sized, budget_s, images, num_classes, speed_of)
    for size in smaller_sizes(sized.size) if draft.may_shrink else ():
        if found.fitted.seconds <= budget_s:
            break
        reason = f"; at {found.sized.size} the least that makes sense takes about {minutes(found.fitted.seconds)} here"
        found = _fitted(draft, Sized(size, reason), budget_s, images, num_classes, speed_of)
    return found


def _fitted(
    draft: Draft, sized: Sized, budget_s: float, images: int, num_classes: int, speed_of: Callable[[Study], Speed]
) -> Timed:
    least = draft.least(sized, images)
    speed = speed_of(least)
    expected = expected_candidates(least, num_classes=num_classes, known=speed.known)

    def estimated(numbers: Numbers) -> Estimate:
        study = draft.study(sized, numbers)
        most = min(images, study.data.train_images or images)
        return estimate(study, speed, train_images=most, num_classes=num_classes, expected=expected)

    return Timed(sized, speed, fit(estimated, budget_s, draft.effort, images))
