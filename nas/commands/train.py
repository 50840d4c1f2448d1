"""`nas train`: one network of a run is trained on, as a further finalist with a recipe of its own.

What it takes from the run's study is all but `finals`; the study that the folder records stays as it is. The finalist
is in the journal before its training begins, so that after a death the same command, or `nas run`, goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nas.commands.export import DIGITS_OF_AN_ID
from nas.commands.forecasts import of_finals, outlook_of
from nas.commands.mirroring import mirrored
from nas.commands.preparation import connected, prepare
from nas.commands.run import held
from nas.commands.setup import setup_of
from nas.errors import InputError
from nas.executors.loop import drive
from nas.executors.view import Screen
from nas.executors.watching import Watchers, nobody
from nas.objectives import directions_of
from nas.records import QUALITIES, State
from nas.run_folder.exchange import complete_exchange
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import BOUND, TrialNotes, TrialRow, row_in, words_of
from nas.search.finalists import Finalists
from nas.search.journal import Journal
from nas.search.journal_file import repair
from nas.search.repeats import by_trial
from nas.search.upkeep import write_fronts
from nas.study import Finals, Study
from nas.study.file import difference, load_recorded

ONLY = "finals."  # the section that may differ from the run's


@dataclass(frozen=True)
class Searched:
    """What the journal holds of the search: the notes of every trial, and the rows of those that are finished."""

    notes: list[TrialNotes]
    rows: list[TrialRow]


def train(
    path: Path, trial: str, overrides: Sequence[str], console: Console, watchers: Watchers | None = None
) -> TrialRow | None:
    """Train a trial's network by the run's `finals` with these changes; its row, None where it was stopped before.

    Raises InputError where the trial cannot be trained, where anything but `finals` would change, or where it is
    trained in this way already.
    """
    folder = RunFolder(path.resolve())
    study = _changed(folder, overrides)
    with held(folder, console) as stop:
        complete_exchange(folder.path)
        repair(folder.journal)
        searched = _finished(Journal(folder.journal, study.name, directions_of(study.objectives)))
        again = by_trial(_finished(Journal(folder.journal, f"{study.name}/repeat", ["maximize"])).rows)
        number = chosen(trial, searched)
        finalists = Finalists(study, folder)
        _refuse_finished(finalists, finalists.find(number, searched.notes[number]), number)
        with connected(study, folder, console) as (connection, _):
            ready = prepare(study, folder, console, places=connection.places, record=False)
            ready.finals.load_test()  # files that cannot be read are named now
            own = finalists.add(number, searched.notes[number], searched.rows)
            finalists.only(own)
            task = finalists.notes(own)
            how = words_of(task.recipe) or f"epochs={task.epochs}"
            console.print(f"Training trial {number} ({task.id}) with {how}", highlight=False, soft_wrap=True)

            def write(_: TrialRow | None) -> str:
                write_fronts(finalists, searched.rows, again)
                return ""

            classes = len(ready.finals.class_names)
            forecast = of_finals(outlook_of(study, train_images=ready.train_images, num_classes=classes), finalists)
            watchers = watchers or nobody()
            watchers.began(study, folder)
            screen = Screen(console, "finalist", 1, lambda: len(_rows(finalists, own)), write, forecast)
            with (
                mirrored(study, folder, console, watchers),
                connection.open(setup_of(study, folder, workers=1)) as executor,
            ):
                drive(finalists, executor, stop, screen, watchers)
            return next(iter(_rows(finalists, own)), None)


def _rows(finalists: Finalists, number: int) -> list[TrialRow]:
    return [row for row in finalists.rows() if row.number == number]


def _changed(folder: RunFolder, overrides: Sequence[str]) -> Study:
    """The run's study with other finals. Raises InputError where anything else differs."""
    if short := [given for given in overrides if given.partition("=")[0] in Finals.model_fields]:
        raise InputError("\n".join(f"command line: expected {ONLY}{given}, got {given}" for given in short))
    recorded, study = load_recorded(folder.study), load_recorded(folder.study, overrides)
    if others := [line for line in difference(recorded, study) if not line.startswith(ONLY)]:
        raise InputError(
            f"{folder.path}: expected changes of {ONLY}KEY alone, got\n  " + "\n  ".join(others) + "\n"
            "Everything else is the run's: `nas run` continues a run with other settings."
        )
    return study


def _finished(journal: Journal) -> Searched:
    trials = journal.trials()
    rows = (row_in(trial.user_attrs) for trial in trials if trial.state.is_finished())
    notes = [TrialNotes.from_json(trial.user_attrs) for trial in trials]
    return Searched(notes, [row for row in rows if row is not None])


def chosen(trial: str, searched: Searched) -> int:
    """The search trial of a number or the beginning of an id; of a duplicate, or of one that failed, the last trial
    that evaluated the same network.

    Raises InputError where there is none, or where its network cannot be trained. One that breaks a limit of what
    depends on its weights alone can: it may be trained longer, or otherwise.
    """
    number = _evaluating(_number(trial, searched.notes), searched.notes)
    row = next((row for row in searched.rows if row.number == number), None)
    if row is None:
        raise InputError(f"TRIAL: trial {number} is not finished; continue the run with `nas run` first")
    if row.state is State.FAILED:
        raise InputError(f"TRIAL: trial {number} failed ({row.reason}); `nas retry` evaluates it again")
    if row.state is State.INFEASIBLE and _is_certain(row, searched.notes[number]):
        raise InputError(f"TRIAL: trial {number} is infeasible, however long it is trained: {row.reason}")
    return number


def _is_certain(row: TrialRow, notes: TrialNotes) -> bool:
    """Whether an infeasible trial breaks a limit whatever its weights are."""
    whatever = row.violation.keys() - {*QUALITIES, "nonzero_parameters", "coded_bytes"}
    return bool(whatever) and (BOUND in row.flags or not notes.candidate.depends_on_weights)


def _evaluating(number: int, notes: Sequence[TrialNotes]) -> int:
    """The trial that this one repeats, if it does, or the last one that `nas retry` has put in that one's place."""
    repeated = notes[number].duplicate_of
    number = number if repeated is None else repeated
    retries = {note.retry_of: retry for retry, note in enumerate(notes) if note.retry_of is not None}
    while number in retries:
        number = retries[number]
    return number


def _number(trial: str, notes: Sequence[TrialNotes]) -> int:
    if trial in map(str, range(len(notes))):
        return int(trial)
    fitting = [(note.identity, number) for number, note in enumerate(notes) if note.id.startswith(trial)]
    found = dict(reversed(fitting))  # of each network its first trial
    if (trial.isdigit() and len(trial) < DIGITS_OF_AN_ID) or not found:
        numbers = f"0 to {len(notes) - 1}" if notes else "of which there is none yet"
        raise InputError(f"TRIAL: expected a trial's number, {numbers}, or the beginning of its id, got {trial!r}")
    if len(found) > 1:
        named = ", ".join(f"{number} ({candidate})" for (candidate, _), number in found.items())
        raise InputError(f"TRIAL: {trial!r} fits {len(found)} networks, trials {named}")
    return next(iter(found.values()))


def _refuse_finished(finalists: Finalists, number: int | None, trial: int) -> None:
    """Raises InputError where this finalist is trained already."""
    for row in [] if number is None else _rows(finalists, number):
        recipe = row.recipe or "the study's own recipe"
        if row.state is State.FAILED:
            raise InputError(f"TRIAL: trial {trial} failed with {recipe} ({row.reason}); `nas retry` queues it again")
        raise InputError(
            f"TRIAL: trial {trial} is trained with {recipe} already ({row.state}): {row.artifact}; "
            "give other values, e.g. finals.epochs=60"
        )
