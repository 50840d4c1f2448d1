"""`nas run`: prepare or continue a run folder, then drive search, repeats and finalists through an executor."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nas.candidates.candidate import Candidate
from nas.commands.data import show_data
from nas.commands.forecasts import announce, of_finals, of_repeats, of_search, outlook_of
from nas.commands.refusals import refuse_teachers
from nas.data import DataSet
from nas.data.describe import describe
from nas.data.of_study import loaded_of
from nas.data.split_record import moved
from nas.errors import InputError, disk_problem
from nas.executors.loop import Stop, WorkFailed, disk_words, drive
from nas.executors.pool import Executor, ExecutorSetup, OpenExecutor, no_limit
from nas.executors.view import Forecast, Screen
from nas.files import sole_holder, write_atomically
from nas.machine import threads_per_worker
from nas.measuring.calibration import calibrated, seconds_of
from nas.measuring.latency import PROTOCOL
from nas.records import Measurement, State
from nas.registry import ENGINES
from nas.run_folder.paths import LOGITS, RunFolder, read_evaluation
from nas.run_folder.rows import TrialRow
from nas.runtimes.runtime import fingerprint, refuse_missing
from nas.search.driver import Drives
from nas.search.earlier import earlier_runs
from nas.search.finalists import Finalists, teaching
from nas.search.journal import repair
from nas.search.references import References
from nas.search.repeats import Repeats
from nas.search.sampling import default_population
from nas.search.search import Search
from nas.search.together import Together
from nas.search.upkeep import Upkeep, write_front, write_references, write_repeats
from nas.study import Study, Target
from nas.study.file import dump_study, frozen_difference, load_recorded
from nas.tasks import OWN_RECIPE, Task
from nas.training.device import refuse_missing_device


def run(study: Study, path: Path, console: Console) -> bool:
    """Run or continue a study in the folder `path`; returns whether it came to its end.

    Raises InputError before any work where the input cannot be used, WorkFailed where the search cannot go on.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if disk_problem(error) and error.errno != errno.EROFS:
            raise
        raise InputError(f"--out: cannot make the folder {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"--out: {path}: no permission to write, or a read-only file system")
    folder = RunFolder(path.resolve())
    with held(folder, console) as stop:
        return _run_locked(study, folder, console, stop)


@contextmanager
def held(folder: RunFolder, console: Console) -> Iterator[Stop]:
    """A run folder that this process alone works in; Ctrl-C is counted."""
    try:
        with sole_holder(folder.lock), Stop(console=console).listening() as stop:
            yield stop
    except PermissionError as error:
        raise InputError(f"{folder.path}: no permission to write ({error.strerror}: {error.filename})") from None
    except OSError as error:
        if (problem := disk_problem(error)) is None:
            raise
        raise WorkFailed(disk_words(folder.path, problem)) from None


def _run_locked(study: Study, folder: RunFolder, console: Console, stop: Stop) -> bool:
    """The search, then repeats and finalists, in a folder that this process holds."""
    study = resolve(study, folder)
    data = prepare(study, folder, console)
    outlook = outlook_of(study, data)
    announce(outlook, console)
    measured = _calibrate(study, folder, len(data.class_names), console, stop)
    search = Search(study, folder, class_names=data.class_names, calibrated=measured)
    if isinstance(study.finals.teacher, int):
        teaching(study.finals.teacher, search.rows())  # before any work
    open_executor: OpenExecutor = ENGINES[study.search.engine]
    with open_executor(setup_of(study, folder, workers=study.search.workers)) as executor:
        problem = _drive_search(search, executor, stop, console, of_search(outlook, search))
        repeats, finalists, references = Repeats(search), Finalists(study, folder), References(study, folder)

        def write() -> None:
            write_repeats(repeats)
            write_front(search, repeats, finalists)
            write_references(references)

        write()
        if not stop.asked and repeats.unfinished:
            forecast = of_repeats(outlook, repeats)
            _drive_further(repeats, "repeats", repeats.budget, executor, stop, console, forecast, after=write)
        if not stop.asked and search.count(State.COMPLETE):
            if study.search.finalists:
                finalists.choose(search, repeats.by_trial())
            references.choose()
            if study.search.finalists and (finalists.unfinished or references.unfinished):
                data.load_test()  # files that cannot be read are named now, not by each finalist after its training
            last, total = Together((finalists, references)), len(finalists.journal.trials()) + references.total
            forecast = of_finals(outlook, last)
            _drive_further(last, "finalists and baseline", total, executor, stop, console, forecast, after=write)
    if problem and not search.count(State.COMPLETE):
        raise WorkFailed(problem)
    if problem:
        console.print(f"[yellow]The search ended early: {escape(problem)}.[/]")
    is_over = search.is_over or search.count(State.COMPLETE) >= study.search.trials
    return not stop.asked and (bool(problem) or is_over)


def prepare(study: Study, folder: RunFolder, console: Console, *, record: bool = True) -> DataSet:
    """Refuse what cannot be run here, repair the journal, read the data, record study (if asked) and split.

    Returns what the search's trials are trained on, in the largest size.
    """
    refuse_missing(study.targets)
    refuse_missing_device(study.training.device)
    _refuse_another_device(study, folder)
    refuse_teachers(study, folder)
    earlier_runs(study, folder)  # as are folders that hold no run
    if cut := repair(folder.journal):
        console.print(f"[yellow]{folder.journal.name}: a torn last record of {cut} bytes was removed.[/]")
    with console.status("reading the data"):
        finals, data = loaded_of(study, "finals"), loaded_of(study, "search")
        summary = describe(study, finals)
    _keep_split(study, folder, data)
    if record:
        write_atomically(folder.study, dump_study(study))
    show_data(study, summary, console)
    of_finals = "" if len(finals.train) == len(data.train) else f" (finalists {len(finals.train)})"
    console.print(
        f"{study.name}: {len(data.train)} training{of_finals}, {len(data.validation)} validation, "
        f"{len(data.split.test)} test images of {len(data.class_names)} classes"
    )
    for leak in data.leaks:
        console.print(f"[yellow]warning:[/] {escape(leak)}")
    return data


def _calibrate(
    study: Study, folder: RunFolder, num_classes: int, console: Console, stop: Stop
) -> list[tuple[Candidate, float]]:
    """Candidates measured for the model of latency, with their milliseconds; none where the sampler has no such model.

    They are measured once per run folder.
    """
    if not seconds_of(study):
        return []
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
    return found.of_target(study.target.name)


def setup_of(study: Study, folder: RunFolder, *, workers: int) -> ExecutorSetup:
    """What the study asks of an executor; the time in which a shared teacher is trained does not count as a trial's."""
    return ExecutorSetup(
        study,
        folder,
        workers=workers,
        threads=threads_per_worker(workers, study.space.input_sizes[-1]),
        limit_minutes=_limits(study),
        excused=lambda: _teacher_is_awaited(study, folder),
    )


def _limits(study: Study) -> Callable[[Task], float | None]:
    """The time of an attempt at a task: a finalist's is longer as its images are more, or larger, than a trial's."""
    if study.search.trial_minutes is None:
        return no_limit
    more = 1.0
    if not study.trials_see_as_much:
        own = study.space.input_sizes[-1]
        images = len(loaded_of(study, "finals").train) / len(loaded_of(study, "search").train)
        more = max(1.0, images * (own / (study.search.input_size or own)) ** 2)
    return lambda task: (study.limit_minutes(task.epochs) or 0.0) * (more if task.phase in OWN_RECIPE else 1.0)


def _teacher_is_awaited(study: Study, folder: RunFolder) -> bool:
    own = folder.teacher(study.search_changes) / LOGITS
    return folder.awaits_teacher or (study.training.needs_reference and not own.exists())


def resolve(study: Study, folder: RunFolder) -> Study:
    """The study with its defaults fixed; in an existing run folder, what shaped the earlier trials must not differ."""
    if folder.study.exists():
        recorded = load_recorded(folder.study)
        study = _with_rungs(study, recorded.rungs or study.rungs)
        study = _with_population(study, recorded.search.population)
        study = _with_reference(study, recorded)
        if different := frozen_difference(recorded, study):
            lines = "\n  ".join(different)
            raise InputError(
                f"{folder.path}: holds a run of another study; recorded -> asked for:\n  {lines}\n"
                "Only search.trials, hours, epoch_budget, workers, engine, finalists, repeat_share, "
                "stop_when_gain_below, trial_minutes, trial_gigabytes, finals, baseline, data.cache, data.group_scope, "
                "artifacts and report keys may change; use another --out."
            )
        return study
    # A run killed before study.yaml was whole has left no more than these.
    own, unfinished = (folder.lock.name, folder.split.name, folder.earlier.name), ".tmp"
    names = sorted(entry.name for entry in folder.path.iterdir())
    if strangers := [name for name in names if name not in own and not name.endswith(unfinished)]:
        raise InputError(f"{folder.path}: is no run folder, but not empty either (it holds {strangers[0]!r})")
    return _with_population(_with_rungs(study, study.rungs), default_population(study.search.trials))


def _with_rungs(study: Study, rungs: tuple[float, ...]) -> Study:
    """What `auto` stands for is fixed at the first run."""
    if study.search.rungs != "auto":
        return study
    return study.model_copy(update={"search": study.search.model_copy(update={"rungs": rungs})})


def _with_population(study: Study, population: int | None) -> Study:
    """The population is fixed at the first run, so that raising `trials` later changes no candidate."""
    if study.search.population is not None:
        return study
    search = study.search.model_copy(update={"population": population})
    return study.model_copy(update={"search": search})


def _with_reference(study: Study, recorded: Study) -> Study:
    """The hypervolume's reference point is fixed early, so that a longer search continues the same curve."""
    point = recorded.report.hypervolume_reference
    if study.report.hypervolume_reference or not point:
        return study
    return study.model_copy(update={"report": study.report.model_copy(update={"hypervolume_reference": point})})


def _keep_split(study: Study, folder: RunFolder, data: DataSet) -> None:
    """Record the split; refuse a recorded one that differs.

    Older versions recorded less of it: the indices, or these and a digest of all images, with which theirs begins.
    """
    text = data.split.to_json(data.file_names)
    recorded = folder.split.read_text(encoding="utf-8") if folder.split.exists() else "}"
    if not text.startswith(recorded.removesuffix("}")):
        older = " (Earlier versions read group_pattern as data.group_scope=all.)" if study.data.group_pattern else ""
        raise InputError(
            f"{folder.split}: was recorded of other images, classes or parts than are found now; has the data changed?"
            f"{older}{moved(recorded, text)}"
        )
    write_atomically(folder.split, text)


def _refuse_another_device(study: Study, folder: RunFolder) -> None:
    """Raises InputError where the run's latencies were measured on another device, runtime or by another protocol."""
    found = map(read_evaluation, (folder.path / "artifacts").glob("*/*"))
    measurement = next((e.measurement for e in found if e is not None and e.measurement is not None), None)
    if measurement is None:
        return
    if different := measured_otherwise(measurement, study.targets):
        lines = "\n  ".join(different)
        raise InputError(
            f"{folder.path}: its latencies were measured in another way than they would be here; "
            f"recorded -> here:\n  {lines}\n"
            "Continue it where it was started, or start again with another --out."
        )


def measured_otherwise(measurement: Measurement, targets: Sequence[Target]) -> list[str]:
    """What would differ from the recorded measurements of latency, a line each; targets after the first are named."""
    lines = []
    for target in targets:
        if (measured := measurement.latency.get(target.name)) is None:
            continue
        recorded = {**measured.fingerprint.model_dump(mode="json"), "protocol": measured.protocol}
        here = {**fingerprint(target).model_dump(mode="json"), "protocol": PROTOCOL}
        name = "" if target == targets[0] else f"{target.name}: "
        lines += [f"{name}{key}: {recorded[key]} -> {here[key]}" for key in here if recorded[key] != here[key]]
    return lines


def _drive_search(search: Search, executor: Executor, stop: Stop, console: Console, forecast: Forecast) -> str:
    """Run the search to its end or to Ctrl-C; trials.csv grows with every finished trial."""
    upkeep = Upkeep(search)

    def after(_: TrialRow | None) -> str:
        upkeep()
        return _counts(search)

    trials = search.study.search.trials
    screen = Screen(console, "search", trials, lambda: search.count(State.COMPLETE), after, forecast)
    return drive(search, executor, stop, screen)


def _drive_further(
    driver: Drives,
    title: str,
    total: int,
    executor: Executor,
    stop: Stop,
    console: Console,
    forecast: Forecast,
    *,
    after: Callable[[], None],
) -> None:
    """Train repeats, or finalists and references; `after` is called at the start, after each, and at the end."""

    def note(_: TrialRow | None) -> str:
        after()
        return ""

    drive(driver, executor, stop, Screen(console, title, total, lambda: len(driver.rows()), note, forecast))


def _counts(search: Search) -> str:
    states = [State.PRUNED, State.INFEASIBLE, State.DUPLICATE, State.FAILED]
    numbers = {"paused": len(search.rungs.paused())} | {state.lower(): search.count(state) for state in states}
    counts = [f"{n} {word}" for word, n in numbers.items() if n]
    gain = search.gain_per_hour()
    return ", ".join([*counts, *([] if gain is None else [f"expects +{gain:.1%} per hour"])])
