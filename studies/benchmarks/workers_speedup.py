"""Trials per hour of two workers against one.

    python studies/benchmarks/workers_speedup.py studies/digits.yaml --trials 12 --json studies/results/workers.json

The same study and seed, search only, in fresh run folders; random draws, so that both evaluate the same candidates.
Time runs from the first trial's start to the last one's end: workers start once, however long a study is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

WORKERS = (1, 2)


def trials_per_hour(study: Path, workers: int, trials: int, folder: Path) -> float:
    keys = [f"search.workers={workers}", f"search.trials={trials}", "search.finalists=0", "search.sampler=random"]
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(study), *keys, "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return trials / hours(pd.read_csv(folder / "trials.csv"), folder)


def hours(frame: pd.DataFrame, folder: Path) -> float:
    """From the start of the first trial to the last record written."""
    start = min(datetime.fromisoformat(text).timestamp() for text in frame["started_at"].dropna())
    end = max((folder / artifact / "evaluation.json").stat().st_mtime for artifact in frame["artifact"].dropna())
    return float((end - start) / 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rates = {
            workers: trials_per_hour(options.study, workers, options.trials, Path(place) / str(workers))
            for workers in WORKERS
        }
    table = Table(title=f"{options.study.stem}: {options.trials} trials")
    for column in ("workers", "trials per hour", "ratio"):
        table.add_column(column, justify="right")
    for workers, rate in rates.items():
        table.add_row(str(workers), f"{rate:.0f}", f"{rate / rates[WORKERS[0]]:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"trials": options.trials, "trials_per_hour": rates}, indent=1) + "\n")


if __name__ == "__main__":
    main()
