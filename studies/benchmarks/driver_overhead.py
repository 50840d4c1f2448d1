"""What the driver adds to a trial: propose (ask and record) and finish (tell), without any training.

    python studies/benchmarks/driver_overhead.py --json driver.json
    python studies/benchmarks/driver_overhead.py --samplers nsga2 --trials 1000 --profile

The 32px space at block granularity has 85 genes. Evaluations come from closed forms and are written as a
worker would write them; that writing is not counted. A row is the mean over the last trials before each size.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table
from synthetic import evaluate, synthetic_study

from nas.candidates.genes import all_genes
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.search.search import Search
from nas.tasks import Task

SIZES = (100, 1000, 10_000)
WINDOW = 50  # trials averaged before each size
LIMITS = {"tpe": 1000}  # beyond, TPE models every gene over every trial: seconds per ask
GOAL_MS = 50


@dataclass
class Overhead:
    """Milliseconds per trial, the mean of the last WINDOW trials before `trials`; `processor_ms` of both steps."""

    sampler: str
    trials: int
    propose_ms: float
    finish_ms: float
    processor_ms: float
    restart_s: float
    journal_mb: float

    @property
    def total_ms(self) -> float:
        return self.propose_ms + self.finish_ms


def drive(sampler: str, sizes: list[int], folder: Path, console: Console) -> list[Overhead]:
    """One search to the largest size, looked at on the way."""
    overrides = [f"search.sampler={sampler}", f"search.trials={max(sizes) + 1}", "search.population=50"]
    study = synthetic_study(folder, overrides)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    search = Search(study, run)
    proposing: list[float] = []
    finishing: list[float] = []
    computing: list[float] = []  # what a busy machine or disk does not add to
    found: list[Overhead] = []
    for number in range(1, max(sizes) + 1):
        began, computed = time.perf_counter(), time.process_time()
        task = search.propose()
        proposing.append(time.perf_counter() - began)
        computing.append(time.process_time() - computed)
        assert isinstance(task, Task)
        evaluation = evaluate(task, study)
        write_evaluation(task.folder, evaluation)
        began, computed = time.perf_counter(), time.process_time()
        search.finish(task, evaluation)
        finishing.append(time.perf_counter() - began)
        computing[-1] += time.process_time() - computed
        if number in sizes:
            began = time.perf_counter()
            Search(study, run)
            restart_s = time.perf_counter() - began
            propose, finish, processor = (1e3 * mean(part[-WINDOW:]) for part in (proposing, finishing, computing))
            megabytes = run.journal.stat().st_size / 1e6
            found.append(Overhead(sampler, number, propose, finish, processor, restart_s, megabytes))
            console.print(found[-1])
    return found


def show(rows: list[Overhead], genes: int) -> Table:
    table = Table(title=f"Driver overhead per trial, {genes} genes, no training")
    columns = ("sampler", "trials", "propose ms", "finish ms", "together ms", "processor ms", "restart s", "journal MB")
    for column in columns:
        table.add_column(column, justify="left" if column == "sampler" else "right")
    for row in rows:
        milliseconds = (row.propose_ms, row.finish_ms, row.total_ms, row.processor_ms)
        cells = [f"{value:.1f}" for value in (*milliseconds, row.restart_s, row.journal_mb)]
        table.add_row(row.sampler, str(row.trials), *cells)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["random", "nsga2", "nsga3", "tpe"])
    parser.add_argument("--trials", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    profiler = cProfile.Profile()
    rows: list[Overhead] = []
    with tempfile.TemporaryDirectory(prefix="driver-overhead-") as folder:
        genes = len(all_genes(synthetic_study(Path(folder), [])))
        for sampler in arguments.samplers:
            sizes = [size for size in arguments.trials if size <= LIMITS.get(sampler, size)]
            place = Path(folder) / sampler
            place.mkdir()
            if arguments.profile:
                profiler.enable()
            rows += drive(sampler, sizes, place, console)
            profiler.disable()
    console.print(show(rows, genes))
    if arguments.profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    if arguments.json:
        arguments.json.write_text(json.dumps([{**asdict(row), "total_ms": row.total_ms} for row in rows], indent=1))
    slow = [r for r in rows if r.sampler == "nsga2" and r.trials == 1000 and r.total_ms > GOAL_MS]
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())
