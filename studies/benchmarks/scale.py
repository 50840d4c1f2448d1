"""How many workers one driver keeps busy, and how a study of many trials is read: trials only sleep.

    python studies/benchmarks/scale.py --json studies/results/scale.json
    python studies/benchmarks/scale.py --rows local-8 --seconds 1
    python studies/benchmarks/scale.py --rows trials --trials 2000

Workers import neither torch nor this package (sleeper.py); accuracy and costs are invented. A row `local-N` or `ray-N`
is a whole search with N workers, `ray-async-N` one with N sleepers in one process, `trials` one study of many trials.
`busy` is the share of its time that a worker sleeps, from its first trial to its last.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import sleeper
from rich.console import Console
from rich.table import Table
from synthetic import synthetic_study

from nas.executors.local import LocalWorkers
from nas.executors.loop import drive
from nas.executors.pool import Executor
from nas.executors.stopping import Stop
from nas.executors.view import Screen
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.finalists import Finalists
from nas.search.references import References
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.upkeep import Upkeep, write_front
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Task

ROUNDS = 3  # trials per worker
LOCAL, RAY, ASYNC = (1, 8, 64, 256), (1, 4, 8, 16), (64,)
COMMANDS = (["status"], ["front"], ["report"])
Open = Callable[[RunFolder], AbstractContextManager[Executor]]


@dataclass(frozen=True)
class Kept:
    """One search with sleeping workers.

    `driver_ms` is the driver's processor time per trial, `start_s` until the last worker had its first trial done, less
    what it slept; `wall_s` until the last trial was told. `driver_mb` it holds at the end.
    """

    row: str
    sampler: str
    workers: int
    trials: int
    sleep_s: float
    wall_s: float
    start_s: float
    busy: float
    driver_ms: float
    driver_mb: float


@dataclass(frozen=True)
class Large:
    """One study of many trials: seconds of the commands that read it, of a restart, and the driver's memory."""

    row: str
    trials: int
    commands_s: dict[str, float]
    restart_s: float
    driver_mb: float
    propose_and_tell_ms: float
    journal_mb: float


def memory_mb() -> float:
    """The most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def held_mb() -> float:
    """What this process holds now: the most that it has held may be an earlier row's."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def study_in(place: Path, trials: int, sampler: str = "random") -> tuple[Study, RunFolder]:
    """The synthetic study with 85 genes, in a run folder."""
    asked = [f"search.sampler={sampler}", f"search.trials={trials}", "search.population=50", "baseline=false"]
    study, folder = synthetic_study(place, [*asked, "search.finalists=0"]), RunFolder(place / "run")
    write_atomically(folder.study, dump_study(study))
    return study, folder


def keep_busy(row: str, workers: int, open_executor: Open, *, seconds: float, sampler: str) -> Kept:
    """One search of ROUNDS trials per worker, driven as `nas run` drives it."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        study, folder = study_in(Path(place), ROUNDS * workers, sampler)
        search = Search(study, folder)
        upkeep = Upkeep(search)

        def after(_: TrialRow | None) -> str:
            upkeep()
            return ""

        console = Console(file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        screen = Screen(console, "search", study.search.trials, lambda: search.count(State.COMPLETE), after)
        began, worked = time.monotonic(), time.process_time()
        with open_executor(folder) as executor:
            drive(search, executor, Stop(console=console), screen)
            wall_s, driver_s = time.monotonic() - began, time.process_time() - worked
        times = [json.loads(line) for line in (Path(place) / sleeper.TIMES).read_text().splitlines()]
        busy, last_start = busy_share(times, seconds)
        trials = len(search.rows())
        return Kept(
            row,
            sampler,
            workers,
            trials,
            seconds,
            wall_s,
            last_start - began,
            busy,
            1e3 * driver_s / trials,
            held_mb(),
        )


def busy_share(times: Sequence[tuple[int, float, float]], seconds: float) -> tuple[float, float]:
    """The mean share of a worker's time that it sleeps, and when the last worker had its first trial.

    `times` are (worker, began, ended) of each trial.
    """
    of_each = defaultdict[int, list[tuple[float, float]]](list)
    for worker, began, ended in times:
        of_each[worker].append((began, ended))
    spans = [(len(own), min(b for b, _ in own), max(e for _, e in own)) for own in of_each.values()]
    return fmean(count * seconds / (last - first) for count, first, last in spans), max(first for _, first, _ in spans)


def local(folder: RunFolder, *, workers: int, seconds: float) -> LocalWorkers:
    command = (sys.executable, "-S", "-E", sleeper.__file__, str(seconds))
    return LocalWorkers(folder.path, workers, 1, command=command)


def many_trials(trials: int) -> Large:
    """One study of many trials, told one after the other without sleeping, then read."""
    fsync = os.fsync
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        study, folder = study_in(Path(place), trials)
        search = Search(study, folder)
        upkeep, worked = Upkeep(search), 0.0
        os.fsync = lambda fd: None  # only the figures of a restart and of reading count here
        try:
            while True:
                before = time.process_time()
                task = search.propose()
                worked += time.process_time() - before
                if not isinstance(task, Task):
                    break
                sleeper.write(json.loads(task.to_line()))
                found = read_evaluation(task.folder)
                assert found is not None
                before = time.process_time()
                search.finish(task, found)
                upkeep()
                worked += time.process_time() - before
        finally:
            os.fsync = fsync
        write_front(search, Repeats(search), Finalists(study, folder, beside=search.journal))
        del search, upkeep
        restart_s, driver_mb = restarted(folder)
        commands = {words[0]: timed([*words, str(folder.path)]) for words in COMMANDS}
        size_mb = folder.journal.stat().st_size / 1e6
        return Large("trials", trials, commands, restart_s, driver_mb, 1e3 * worked / trials, size_mb)


def timed(words: list[str]) -> float:
    """Seconds of a command of this package, its start included."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "nas.cli", *words], check=True, capture_output=True)
    return time.monotonic() - began


def restarted(folder: RunFolder) -> tuple[float, float]:
    """Seconds until a new driver knows every trial of all phases, and the megabytes that it then holds."""
    words = [sys.executable, __file__, "--restart", str(folder.path)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found["seconds"], found["megabytes"]


def restart(path: Path) -> None:
    from nas.search.journal_file import repair
    from nas.study.file import load_recorded

    began, folder = time.monotonic(), RunFolder(path)
    study = load_recorded(folder.study)
    repair(folder.journal)
    search = Search(study, folder)
    Upkeep(search)()
    Repeats(search)
    Finalists(study, folder, beside=search.journal)
    References(study, folder, beside=search.journal)
    print(json.dumps({"seconds": time.monotonic() - began, "megabytes": memory_mb()}))


def show(kept: Sequence[Kept], large: Sequence[Large], console: Console) -> None:
    table = Table(title="Sleeping trials")
    for column in ("row", "sampler", "trials", "wall s", "start s", "busy", "driver ms", "MB"):
        table.add_column(column, justify="left" if column in ("row", "sampler") else "right")
    for one in kept:
        figures = f"{one.wall_s:.1f}", f"{one.start_s:.1f}", f"{one.busy:.1%}", f"{one.driver_ms:.1f}"
        table.add_row(one.row, one.sampler, str(one.trials), *figures, f"{one.driver_mb:.0f}")
    console.print(table)
    for study in large:
        console.print(study)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*(f"local-{n}" for n in LOCAL), *(f"ray-{n}" for n in RAY), *(f"ray-async-{n}" for n in ASYNC)]
    parser.add_argument("--rows", nargs="+", default=[*names, "local-64-pareto", "trials"], metavar="ROW")
    parser.add_argument("--seconds", type=float, default=10.0, help="a trial's")
    parser.add_argument("--trials", type=int, default=20_000, help="of the row `trials`")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--restart", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.restart:
        restart(arguments.restart)
        return
    kept, large, console = list[Kept](), list[Large](), Console()
    for row in arguments.rows:
        if row == "trials":
            large.append(many_trials(arguments.trials))
            continue
        engine, *others = row.split("-")
        sampler = others.pop() if others[-1] == "pareto" else "random"
        workers = int(others[-1])
        if engine == "ray":
            from sleeping_in_ray import open_sleepers

            together = workers if others[0] == "async" else 1
            opener: Open = partial(open_sleepers, workers=workers, seconds=arguments.seconds, together=together)
        else:
            opener = partial(local, workers=workers, seconds=arguments.seconds)
        kept.append(keep_busy(row, workers, opener, seconds=arguments.seconds, sampler=sampler))
        console.print(kept[-1])
    show(kept, large, console)
    if arguments.json:
        found = {"sleeping": [asdict(one) for one in kept], "large": [asdict(one) for one in large]}
        write_atomically(arguments.json, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
