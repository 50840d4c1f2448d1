"""`nas init`: looks at data and writes a study that fits them, with the reason of every choice above it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from nas.data.describe import DataSummary, summarize
from nas.data.sources import SOURCES
from nas.data.tables import data_table, data_words
from nas.errors import InputError
from nas.estimate import Speed
from nas.files import write_atomically
from nas.first_study.choices import Choice, settings_of
from nas.first_study.columns import choose_columns
from nas.first_study.document import MACHINE, document
from nas.first_study.draft import Draft, Timed, fit_into
from nas.first_study.pictures import in_words, look
from nas.first_study.places import located
from nas.first_study.proposal import Found, data_choices, study_name, suited_size
from nas.first_study.targets import DEFAULT_TARGET, target_named
from nas.first_study.words import minutes, reasons, time_in_words
from nas.machine import cores
from nas.runtimes.runtime import refuse_missing
from nas.study import Study
from nas.study.effort import EFFORTS, Effort, EffortName
from nas.study.file import override_settings, parse_study

MOST_WORKERS = 8
SEED = 0


@dataclass(frozen=True)
class Wishes:
    """What the user asked for. minutes: of the whole run; the effort's own where None. out: the file to write."""

    given: str
    out: Path
    overrides: Sequence[str] = ()
    minutes: float | None = None
    target: str = DEFAULT_TARGET
    effort: EffortName = "normal"

    @property
    def level(self) -> Effort:
        return EFFORTS[self.effort]

    @property
    def budget_s(self) -> float:
        return 60 * (self.level.minutes if self.minutes is None else self.minutes)


def measured_speed(study: Study) -> Speed:
    """The probe, which needs torch; its threads are those of a worker."""
    from nas.executors.local import worker_environment
    from nas.machine import threads_per_worker

    os.environ.update(worker_environment(threads_per_worker(study.search.workers, study.space.input_sizes[-1])))
    from nas.commands.probe import measure_speed

    return measure_speed(study)


def init(
    wishes: Wishes, *, force: bool, console: Console, speed_of: Callable[[Study], Speed] = measured_speed
) -> Study:
    """Look, choose, probe, write and say why. A file that is there already is left alone, unless forced."""
    if wishes.out.exists() and not force:
        raise InputError(f"{wishes.out}: is there already; --force replaces it, --out FILE writes another")
    target_named(wishes.target)
    with _plain_words():
        with console.status(f"looking at {escape(wishes.given)}"):
            draft = drafted(wishes)
            sized = suited_size(draft.found, wishes.level)
            least = draft.least(sized, images=1)
            refuse_missing(least.targets)
            known = None if least.data.group_pattern else draft.found.listing  # which was listed without groups
            summary = summarize(least.data, known, seed=SEED, input_sizes=least.space.input_sizes)
        _say_what_was_found(draft, summary, console)
        with console.status("probing how fast networks are trained and run here"):
            images, classes = summary.total("train"), len(summary.class_names)
            timed = fit_into(draft, sized, wishes.budget_s, images=images, num_classes=classes, speed_of=speed_of)
    choices = draft.choices(timed.sized, timed.fitted.numbers, timed.speed)
    text = document(choices, _heading(wishes))
    study = parse_study(text, wishes.out)
    write_atomically(wishes.out, text)
    _say_what_was_chosen(choices, timed, wishes, console)
    return study


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
    name, place = study_name(wishes.given), located(wishes.given)
    of_data = [override for override in wishes.overrides if override.startswith("data.")]
    wanted = override_settings(settings_of(place), of_data)["data"]
    if wanted["source"] == "csv":
        place += choose_columns(wanted["path"], wanted.get("columns") or {}, asked_root=wanted.get("root"))
    text = document([Choice("name", name), *place, Choice("space.preset", "32px")], name)
    data = parse_study(text, wishes.out, of_data).data
    listing = SOURCES[data.source].list(data)
    found = Found(tuple(place), data, listing, look(listing))
    chosen = data_choices(found, seed=SEED)
    return Draft(
        name, found, chosen, wishes.level, wishes.target, min(cores(), MOST_WORKERS), wishes.out, wishes.overrides
    )


def _heading(wishes: Wishes) -> str:
    return (
        f"Written by nas init for {wishes.given}, {minutes(wishes.budget_s)}, effort {wishes.effort}; yours to change. "
        f"What is marked {MACHINE}, and the words above it, follow from the speed and the cores of the machine it was "
        "written on; all else from the data. Every key is described by nas schema."
    )


def _say_what_was_found(draft: Draft, summary: DataSummary, console: Console) -> None:
    console.print(data_table(summary))
    for line in (f"pictures: {in_words(draft.found.looks)}", *data_words(summary)):
        console.print(escape(line), soft_wrap=True, highlight=False)
    for warning in summary.warnings:
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
