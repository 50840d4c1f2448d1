"""`nas run`: begin or continue a run folder, and drive search, repeats and finalists through an executor."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nas.commands.forecasts import announce, of_finals, of_repeats, of_search, outlook_of
from nas.commands.mirroring import mirrored
from nas.commands.preparation import Ready, connected, prepare, resolve
from nas.commands.remeasure import remeasure
from nas.commands.setup import setup_of
from nas.errors import InputError, disk_problem
from nas.executors.engine import Connection
from nas.executors.log import RunLog
from nas.executors.loop import WorkFailed, disk_words, drive
from nas.executors.pool import Executor
from nas.executors.stopping import Stop
from nas.executors.view import Forecast, Screen
from nas.executors.watching import Watcher, Watchers, nobody
from nas.files import remove_unfinished, sole_holder
from nas.measuring.calibration import calibrated, seconds_of
from nas.records import State
from nas.run_folder.exchange import complete_exchange
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.search.driver import Drives
from nas.search.finalists import Finalists, teaching
from nas.search.modelled import Calibrated
from nas.search.references import References
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.together import Together
from nas.search.upkeep import Upkeep, write_front, write_references, write_repeats
from nas.study import Study
from nas.tracking.background import Background


def run(
    study: Study, path: Path, console: Console, watchers: Watchers | None = None, *, remeasures: bool = False
) -> bool:
    """Run or continue a study in the folder `path`; returns whether it came to its end.

    `remeasures`: latencies that were measured on another device are measured again first. Raises InputError before any
    work where the input cannot be used, WorkFailed where the search cannot go on.
    """
    folder = folder_at(path)
    with held(folder, console) as stop:
        complete_exchange(folder.path)
        asked, study = study, resolve(study, folder)
        with connected(study, folder, console) as (connection, study):
            ready = prepare(study, folder, console, places=connection.places, any_device=remeasures)
            if remeasures:
                classes, places = len(ready.search.class_names), connection.places
                again = remeasure(study, asked, folder, places=places, num_classes=classes, stop=stop)
                if again is None:
                    return False
                study = again
            return _run_connected(study, folder, ready, connection, stop, watchers or nobody())


def folder_at(path: Path) -> RunFolder:
    """The run folder at `path`, made where there is none. Raises InputError where it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if disk_problem(error) and error.errno != errno.EROFS:
            raise
        raise InputError(f"--out: cannot make the folder {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"--out: {path}: no permission to write, or a read-only file system")
    return RunFolder(path.resolve())


def watchers_of(study: Study, console: Console) -> Watchers:
    """Who hears of a run of this study."""
    trackers: list[Watcher] = [Background(name) for name in study.tracking]
    return Watchers([RunLog(console), *trackers], console)


@contextmanager
def held(folder: RunFolder, console: Console) -> Iterator[Stop]:
    """A run folder that this process alone works in; Ctrl-C is counted, and SIGTERM heard."""
    try:
        with sole_holder(folder.lock), Stop(console=console).listening() as stop:
            remove_unfinished(folder.path)
            yield stop
    except PermissionError as error:
        raise InputError(f"{folder.path}: no permission to write ({error.strerror}: {error.filename})") from None
    except OSError as error:
        if (problem := disk_problem(error)) is None:
            raise
        raise WorkFailed(disk_words(folder.path, problem)) from None


def _run_connected(
    study: Study, folder: RunFolder, ready: Ready, connection: Connection, stop: Stop, watchers: Watchers
) -> bool:
    """The search, then repeats and finalists, in a folder that this process holds."""
    is_new, console, data = not folder.journal.exists(), stop.console, ready.search
    watchers.began(study, folder)
    outlook = outlook_of(study, train_images=ready.train_images, num_classes=len(data.class_names))
    if is_new:  # what is left of another one shows as soon as its search goes on
        announce(outlook, console)
    measured = calibrate(study, folder, len(data.class_names), console, stop)
    search = Search(study, folder, class_names=data.class_names, calibrated=measured)
    if isinstance(study.finals.teacher, int):
        teaching(study.finals.teacher, search.rows())  # before any work
    setup = setup_of(study, folder, workers=study.search.worker_count)
    with mirrored(study, folder, console, watchers), connection.open(setup) as executor:
        work = Work(executor, stop, console, watchers)
        problem = _drive_search(search, work, of_search(outlook, search))
        repeats, finalists = Repeats(search), Finalists(study, folder, beside=search.journal)
        references = References(study, folder, beside=search.journal, finalists=finalists)

        def write() -> None:
            write_repeats(repeats)
            write_front(search, repeats, finalists)
            write_references(references)

        write()
        if not stop.asked and repeats.unfinished:
            forecast = of_repeats(outlook, repeats)
            _drive_further(repeats, "repeats", repeats.budget, work, forecast, after=write)
        if not stop.asked and search.count(State.COMPLETE):
            if study.search.finalists:
                finalists.choose(search, repeats.by_trial())
            references.choose()
            if study.search.finalists and (finalists.unfinished or references.unfinished):
                data.load_test()  # files that cannot be read are named now, not by each finalist after its training
            last, total = Together((finalists, references)), len(finalists.journal.trials()) + references.total
            forecast = of_finals(outlook, last)
            title = "finalists and baseline" if study.baseline else "finalists"
            _drive_further(last, title, total, work, forecast, after=write)
    if problem and not search.count(State.COMPLETE):
        raise WorkFailed(problem)
    if problem:
        console.print(f"[yellow]The search ended early: {escape(problem)}.[/]")
    is_over = search.is_over or search.count(State.COMPLETE) >= study.search.trials
    return not stop.asked and (bool(problem) or is_over)


def calibrate(study: Study, folder: RunFolder, num_classes: int, console: Console, stop: Stop) -> Calibrated:
    """Candidates measured for the models of latency, with their milliseconds; none where the sampler has no such model.

    They are measured once per run folder.
    """
    if not seconds_of(study):
        return {}
    is_new = not folder.calibration.exists()
    with console.status("calibrating the model of latency") as status:
        began = time.monotonic()

        def stopped() -> bool:
            over = time.monotonic() - began
            status.update(f"calibrating the model of latency: {over:.0f} s of at most {seconds_of(study):.0f}")
            return stop.asked

        found, problem = calibrated(study, num_classes, folder.calibration, stopped=stopped)
    if problem:
        console.print(f"[yellow]warning:[/] latency is learned from the trials alone: {escape(problem)}")
    elif is_new:
        console.print(f"The model of latency is calibrated on {len(found.samples)} untrained candidates.")
    return {name: found.of_target(target.name) for name, target in study.latencies.items()}


@dataclass(frozen=True)
class Work:
    """What the drives of one run share."""

    executor: Executor
    stop: Stop
    console: Console
    watchers: Watchers

    def drive(self, driver: Drives, screen: Screen) -> str:
        return drive(driver, self.executor, self.stop, screen, self.watchers)


def _drive_search(search: Search, work: Work, forecast: Forecast) -> str:
    """Run the search to its end or to Ctrl-C; trials.csv grows with every finished trial."""
    upkeep = Upkeep(search)

    def after(_: TrialRow | None) -> str:
        upkeep()
        return _counts(search)

    trials = search.study.search.trials
    screen = Screen(work.console, "search", trials, lambda: search.count(State.COMPLETE), after, forecast)
    return work.drive(search, screen)


def _drive_further(
    driver: Drives,
    title: str,
    total: int,
    work: Work,
    forecast: Forecast,
    *,
    after: Callable[[], None],
) -> None:
    """Train repeats, or finalists and references; `after` is called at the start, after each, and at the end."""

    def note(_: TrialRow | None) -> str:
        after()
        return ""

    work.drive(driver, Screen(work.console, title, total, lambda: len(driver.rows()), note, forecast))


def _counts(search: Search) -> str:
    states = [State.PRUNED, State.INFEASIBLE, State.DUPLICATE, State.FAILED]
    numbers = {"paused": len(search.rungs.paused())} | {state.lower(): search.count(state) for state in states}
    counts = [f"{n} {word}" for word, n in numbers.items() if n]
    gain = search.gain_per_hour()
    return ", ".join([*counts, *([] if gain is None else [f"expects +{gain:.1%} per hour"])])
