"""`nas run`: prepare or continue a run folder, drive search and finalists through workers, write the front."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nas.checking import reference_candidate
from nas.data import load
from nas.errors import InputError, disk_problem
from nas.executors.local import Broke, Died, LocalWorkers, TookTooLong, threads_per_worker
from nas.finalists import Finalists
from nas.objectives import as_minimised, may_stand
from nas.pareto import non_dominated
from nas.phases import Done, Phases
from nas.records import QUALITIES, State
from nas.run_folder import RunFolder, read_evaluation, write_atomically
from nas.search import Search, default_population
from nas.storage import repair, sole_holder
from nas.study import Study
from nas.study.file import dump_study, frozen_difference, load_study
from nas.tasks import Task
from nas.trial_rows import front_columns, write_rows
from nas.upkeep import Upkeep

MAX_START_DEATHS = 3


class WorkFailed(Exception):
    """The search cannot go on; the message says why."""


class Interrupted(Exception):
    """Ctrl-C was pressed twice."""


@dataclass
class Stop:
    """Ctrl-C, counted: once means finish what is running, twice means now."""

    presses: int = 0
    console: Console = field(default_factory=Console)

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        previous = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)

    def _pressed(self, *_: object) -> None:
        self.presses += 1
        if self.presses == 1:
            self.console.print("[yellow]Finishing what is running; press Ctrl-C again to stop now.[/]")
        elif self.presses > 2:
            raise KeyboardInterrupt

    @property
    def asked(self) -> bool:
        return self.presses > 0


def run(study: Study, path: Path, console: Console) -> bool:
    """Run or continue a study in the folder `path`; returns whether it came to its end.

    Raises InputError before any work where the input cannot serve, WorkFailed where the search cannot go on.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if disk_problem(error):
            raise
        raise InputError(f"--out: cannot make the folder {path}: {error.strerror}") from None
    folder = RunFolder(path.resolve())
    try:
        with sole_holder(folder.lock), Stop(console=console).listening() as stop:
            return _hold(study, folder, console, stop)
    except PermissionError as error:
        raise InputError(f"{path}: no permission to write ({error.strerror}: {error.filename})") from None
    except OSError as error:
        if (problem := disk_problem(error)) is None:
            raise
        raise WorkFailed(_disk_words(path, problem)) from None


def _disk_words(path: Path, problem: str) -> str:
    return f"{path}: {problem}; nothing finished is lost, the same command goes on"


def _hold(study: Study, folder: RunFolder, console: Console, stop: Stop) -> bool:
    study = resolve(study, folder)
    reference_candidate(study)  # a file that is no candidate is told before any work
    if cut := repair(folder.journal):
        console.print(f"[yellow]{folder.journal.name}: a torn last record of {cut} bytes was removed.[/]")
    with console.status("reading the data"):
        data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    _keep_split(folder, data.split.to_json())
    write_atomically(folder.study, dump_study(study))
    console.print(
        f"{study.name}: {len(data.train)} training, {len(data.validation)} validation, "
        f"{len(data.split.test)} test images of {len(data.class_names)} classes"
    )
    _name_skipped(data.skipped, console)
    workers = study.search.workers
    threads = threads_per_worker(workers, study.space.input_sizes[-1])
    search = Search(study, folder)
    minutes = study.search.trial_minutes
    with LocalWorkers(folder.path, workers, threads, None if minutes is None else minutes * 60) as pool:
        problem = _drive_search(search, pool, stop, console)
        finalists = Finalists(study, folder)
        write_front(search, finalists)
        if not stop.asked and study.search.finalists:
            _drive_finalists(search, finalists, pool, stop, console)
    if problem and not search.count(State.COMPLETE):
        raise WorkFailed(problem)
    if problem:
        console.print(f"[yellow]The search ended early: {problem}.[/]")
    return not stop.asked


def _name_skipped(skipped: tuple[str, ...], console: Console) -> None:
    if skipped:
        more = f"\n  and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        lines = escape("\n  ".join(skipped[:5]) + more)
        console.print(f"[yellow]warning:[/] {len(skipped)} unreadable image file(s) left out:\n  {lines}")


def resolve(study: Study, folder: RunFolder) -> Study:
    """The study with its defaults fixed; in an existing run folder, what shaped the earlier trials must not differ."""
    if folder.study.exists():
        recorded = load_study(folder.study)
        study = _with_population(study, recorded.search.population)
        study = _with_reference(study, recorded)
        if different := frozen_difference(recorded, study):
            lines = "\n  ".join(different)
            raise InputError(
                f"{folder.path}: holds a run of another study; recorded -> asked for:\n  {lines}\n"
                "Only search.trials, hours, workers, finalists, trial_minutes and trial_gigabytes, artifacts and "
                "report keys may change; use another --out."
            )
        return study
    # A run killed before study.yaml was whole has left no more than these.
    own, unfinished = (folder.lock.name, folder.split.name), ".tmp"
    names = sorted(entry.name for entry in folder.path.iterdir())
    if strangers := [name for name in names if name not in own and not name.endswith(unfinished)]:
        raise InputError(f"{folder.path}: is no run folder, but not empty either (it holds {strangers[0]!r})")
    return _with_population(study, default_population(study.search.trials))


def _with_population(study: Study, population: int | None) -> Study:
    """The population is fixed at the first run, so that raising `trials` later changes no candidate."""
    if study.search.population is not None:
        return study
    search = study.search.model_copy(update={"population": population})
    return study.model_copy(update={"search": search})


def _with_reference(study: Study, recorded: Study) -> Study:
    """The hypervolume's reference point is fixed early, so that curves of a longer search go on where they were."""
    point = recorded.report.hypervolume_reference
    if study.report.hypervolume_reference or not point:
        return study
    return study.model_copy(update={"report": study.report.model_copy(update={"hypervolume_reference": point})})


def _keep_split(folder: RunFolder, split: str) -> None:
    if folder.split.exists() and folder.split.read_text() != split:
        raise InputError(f"{folder.split}: the data set's split is not the recorded one; has the data changed?")
    write_atomically(folder.split, split)


def _drive_search(search: Search, pool: LocalWorkers, stop: Stop, console: Console) -> str:
    """Run the search to its end or to Ctrl-C; trials.csv grows with every finished trial."""
    upkeep = Upkeep(search)

    def after(_: dict[str, Any]) -> str:
        upkeep()
        return _counts(search)

    total = search.study.search.trials
    problem = _drive(search, pool, stop, console, "search", total, lambda: search.count(State.COMPLETE), after)
    after({})  # duplicates that the last draws brought
    return problem


def _drive_finalists(search: Search, finalists: Finalists, pool: LocalWorkers, stop: Stop, console: Console) -> None:
    finalists.choose(search)

    def after(_: dict[str, Any]) -> str:
        write_front(search, finalists)
        return ""

    total = len(finalists.journal.trials())
    _drive(finalists, pool, stop, console, "finalists", total, lambda: len(finalists.rows()), after)
    write_front(search, finalists)


def _drive(
    phases: Phases,
    pool: LocalWorkers,
    stop: Stop,
    console: Console,
    title: str,
    total: int,
    done: Callable[[], int],
    after: Callable[[dict[str, Any]], str],
) -> str:
    """The local loop: fill idle workers, take what they finish; returns the driver's problem, if it has one."""
    start_deaths = 0
    with _progress(console, title, total) as progress:
        bar = progress.task_ids[0]
        progress.update(bar, completed=done(), note=after({}))
        while True:
            answer: Task | Done | object = None
            while pool.idle and not stop.asked and isinstance(answer := phases.propose(), Task):  # type: ignore[attr-defined]
                pool.submit(answer)
            if isinstance(answer, Done) or (stop.asked and not pool.running):
                return answer.problem if isinstance(answer, Done) else ""
            if stop.presses > 1:
                raise Interrupted
            for event in pool.wait(0.2):
                if isinstance(event, Broke):
                    raise WorkFailed(_disk_words(phases.folder.path, event.reason))
                if isinstance(event, Died):
                    start_deaths += not event.started
                    if start_deaths >= MAX_START_DEATHS:
                        raise WorkFailed(f"workers do not start: {event.reason}")
                    row = phases.died(event.task, event.reason, started=event.started) if event.task else None
                elif isinstance(event, TookTooLong):
                    row = phases.took_too_long(event.task)
                else:
                    start_deaths = 0
                    row = _take(phases, event.task)
                if row is not None:
                    progress.console.print(_line(row))
                    progress.update(bar, completed=done(), note=after(row))


def _take(phases: Phases, task: Task) -> dict[str, Any]:
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None, f"{task.folder} has no evaluation.json"
    return phases.finish(task, evaluation)


def _progress(console: Console, title: str, total: int) -> Progress:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    progress.add_task(title, total=total, note="")
    return progress


def _counts(search: Search) -> str:
    states = [State.INFEASIBLE, State.DUPLICATE, State.FAILED]
    return ", ".join(f"{n} {state.lower()}" for state in states if (n := search.count(state)))


def _line(row: dict[str, Any]) -> str:
    number = row.get("trial", row["number"])
    if row["state"] != State.COMPLETE:
        return f"[dim]{number:>5}  {row['id'][:8]}  {row['state'].lower()}: {escape(row['reason'])}[/]"
    test = f"  test {row['test_accuracy']:.2%}" if row["test_accuracy"] is not None else ""
    return (
        f"{number:>5}  {row['id'][:8]}  {row['accuracy']:.2%}{test}  {row['parameters']:,.0f} params  "
        f"{row['size_bytes'] / 1000:.1f} KB  {row['latency_ms']:.4f} ms  ({row['seconds']:.1f} s)"
    )


def write_front(search: Search, finalists: Finalists) -> None:
    """front.csv, over the finalists as soon as one is complete, over the search's trials until then."""
    study, folder = search.study, search.folder
    columns = front_columns(study)
    searched = {row["number"]: row for row in search.rows()}
    final_rows = [{**row, "search_accuracy": searched[row["trial"]]["accuracy"]} for row in finalists.rows()]
    if final_rows:
        write_rows(folder.finalists, [*columns, "state", "reason"], final_rows)
    rows = final_rows if any(map(may_stand, final_rows)) else [_as_front_row(row) for row in search.rows()]
    write_rows(folder.front, columns, front_of(rows, study))


def _as_front_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "trial": row["number"], "search_accuracy": row["accuracy"]}


def front_of(rows: list[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """Rows not dominated by another in the study's objectives, best in the first one first.

    Log-loss orders rows of exactly equal quality. It decides nothing else: a row beaten in every objective stays off.
    """
    standing = [row for row in rows if may_stand(row)]
    if not standing:
        return []
    points = np.array([[as_minimised(name, row[name]) for name in study.objectives] for row in standing])
    kept = np.flatnonzero(non_dominated(points))
    by_quality = study.objectives[0] in QUALITIES

    def rank(index: int) -> tuple[float, ...]:
        loss = standing[index].get("log_loss") if by_quality else None
        return (points[index][0], np.inf if loss is None else loss, *points[index][1:])

    return [standing[i] for i in sorted(kept.tolist(), key=rank)]
