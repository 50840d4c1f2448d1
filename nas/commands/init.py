"""`nas init`: looks at data and writes a study that fits them, with the reason of every choice above it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from nas.commands.refusals import refuse
from nas.commands.threads import threads_as_in_a_worker
from nas.compression.sizes import fitted_size
from nas.data.describe import DataSummary, summarize
from nas.data.tables import data_table, data_warnings, data_words
from nas.errors import InputError
from nas.estimate import Speed
from nas.files import write_atomically
from nas.first_study.choices import Choice
from nas.first_study.document import MACHINE, document
from nas.first_study.draft import Draft, Timed, fit_into
from nas.first_study.looking import SEED, found_at
from nas.first_study.pictures import in_words
from nas.first_study.proposal import Sized, data_choices, study_name, suited_size
from nas.first_study.spaces import Base
from nas.first_study.targets import DEFAULT_TARGET, target_named
from nas.first_study.words import reasons, time_in_words
from nas.machine import cores
from nas.study import Study
from nas.study.effort import EFFORTS, Effort, EffortName
from nas.study.file import override_settings, parse_study

MOST_WORKERS = 8


@dataclass(frozen=True)
class Wishes:
    """What the user asked for. minutes: of the whole run; the effort's own where None. out: the file to write.

    base: the network that is searched, where it exists already.
    """

    given: str
    out: Path
    overrides: Sequence[str] = ()
    minutes: float | None = None
    target: str = DEFAULT_TARGET
    effort: EffortName = "normal"
    base: Base | None = None

    @property
    def level(self) -> Effort:
        return EFFORTS[self.effort]

    @property
    def budget_s(self) -> float:
        return 60 * (self.level.minutes if self.minutes is None else self.minutes)


def measured_speed(study: Study, say: Callable[[str], None] = lambda _: None) -> Speed:
    """The probe, which needs torch; its threads are those of a worker. It says what it is at."""
    threads_as_in_a_worker(study)
    from nas.commands.probe import measure_speed

    return measure_speed(study, say=say)


def init(wishes: Wishes, *, force: bool, console: Console, speed_of: Callable[[Study], Speed] | None = None) -> Study:
    """Look, choose, probe, write and say why. A file that is there already is left alone, unless forced.

    speed_of: how fast a study's candidates are evaluated; by default as the probe finds.
    """
    if not math.isfinite(wishes.budget_s):
        raise InputError(f"--minutes: expected a number of minutes, got {wishes.minutes}")
    _check_place(wishes.out, force=force)
    target_named(wishes.target)
    with _plain_words():
        with console.status(f"looking at {escape(wishes.given)}"):
            draft = drafted(wishes)
            sized = _fitting(suited_size(draft.found, wishes.level), draft)
            least = draft.least(sized, images=1)
            refuse(least)
            known = None if least.data.group_pattern else draft.found.listing  # which was listed without groups
            summary = summarize(least.data, known, seed=SEED, input_sizes=least.space.input_sizes)
        _say_what_was_found(draft, summary, console)
        with console.status("probing how fast networks are trained and run here") as status:
            probe = speed_of or partial(measured_speed, say=status.update)
            images, classes = summary.total("train"), len(summary.class_names)
            timed = fit_into(draft, sized, wishes.budget_s, images=images, num_classes=classes, speed_of=probe)
    choices = draft.choices(timed.sized, timed.fitted.numbers, timed.speed)
    text = document(choices, _heading(wishes))
    study = parse_study(text, wishes.out)
    write_atomically(wishes.out, text)
    _say_what_was_chosen(choices, timed, wishes, console)
    return study


def _fitting(sized: Sized, draft: Draft) -> Sized:
    """The size, or the next that a network which exists already can take: it is read for that."""
    if draft.base is None or any(override.lstrip().startswith("space.input_size") for override in draft.overrides):
        return sized
    own = {"base": draft.base.name, "trusted": draft.base.trusted}
    space = override_settings({"space": own}, [one for one in draft.overrides if one.startswith("space.")])["space"]
    least = draft.least(sized, images=1)
    threads_as_in_a_worker(least)  # before the probe: the network is read with torch
    size = fitted_size(space, sized.size, input_channels=least.data.input_channels)
    if size == sized.size:
        return sized
    return replace(sized, size=size, reason=f"; the network takes none of {sized.size}")


def _check_place(out: Path, *, force: bool) -> None:
    """Before any work: whether the file can be written, and may be."""
    if out.exists() and not force:
        raise InputError(f"{out}: is there already; --force replaces it, --out FILE writes another")
    folder = next(folder for folder in out.absolute().parents if folder.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{out}: expected a file that can be written, in a folder that can be, got {folder}")


@contextmanager
def _plain_words() -> Iterator[None]:
    """What is wrong with the data, without the key of a study that the user has not written."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).removeprefix("data.path: ").removeprefix("data: ")) from None
    except PermissionError as error:
        raise InputError(f"{error.filename}: no permission to read it") from None


def drafted(wishes: Wishes) -> Draft:
    """The data that the user named, listed, and some of the pictures opened; all that follows from them."""
    found = found_at(wishes.given, wishes.out, wishes.overrides)
    return Draft(
        study_name(wishes.given), found, data_choices(found, seed=SEED), wishes.level, wishes.target,
        min(cores(), MOST_WORKERS), wishes.out, wishes.overrides, wishes.base,
    )  # fmt: skip


def _heading(wishes: Wishes) -> str:
    return (
        f"Written by nas init for {wishes.given}, {wishes.budget_s / 60:g} min, effort {wishes.effort}; yours to "
        "change. "
        f"What is marked {MACHINE}, and the words above it, follow from the speed and the cores of the machine it was "
        "written on; all else from the data. Every key is described by nas schema."
    )


def _say_what_was_found(draft: Draft, summary: DataSummary, console: Console) -> None:
    console.print(data_table(summary))
    for line in (f"pictures: {in_words(draft.found.looks)}", *data_words(summary)):
        console.print(escape(line), soft_wrap=True, highlight=False)
    for warning in data_warnings(summary):
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)


def _say_what_was_chosen(choices: Sequence[Choice], timed: Timed, wishes: Wishes, console: Console) -> None:
    console.print("\nWhat was chosen, and why (in brackets: a suggestion, which stands in the file as a comment)")
    for key, value, why in reasons(choices):
        console.print(f"  [bold]{escape(key)}[/]: {escape(value)}", soft_wrap=True, highlight=False)
        console.print(Padding(escape(why), (0, 0, 0, 6)), highlight=False)
    console.print()
    lines = [
        *time_in_words(timed.fitted, wishes.budget_s),
        f"Written:  {wishes.out}",
        f"Next:     nas run {wishes.out}",
    ]
    console.print(escape("\n".join(lines)), soft_wrap=True, highlight=False)
