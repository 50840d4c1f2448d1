"""How well the probe's estimate foretells a run: probe a study, run it, and compare, search and finalists apart.

    python studies/benchmarks/estimate.py studies/digits.yaml --out runs/estimate --json estimate.json
    python studies/benchmarks/estimate.py studies/mixed-cifar10.yaml data.train_images=2000 search.trials=12 ...

The machine should be idle otherwise. A run folder that is there already is removed first: a continued run takes less.
Rows of earlier studies stay in the JSON file; one of the same study and keys is replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.commands.probe import probe
from nas.estimate import Estimate, Seconds
from nas.estimate.words import duration, span
from nas.executors.environment import worker_environment
from nas.machine import threads_per_worker
from nas.records import Evaluation
from nas.run_folder.paths import RunFolder
from nas.study.file import load_study
from nas.tasks import OWN_RECIPE

PARTS = ("search", "finalists", "total")


def run(study: Path, overrides: list[str], folder: Path) -> tuple[float, float]:
    """Seconds since the epoch at which `nas run` began and ended."""
    began = time.time()
    command = [sys.executable, "-m", "nas.cli", "run", str(study), *overrides, "--out", str(folder)]
    subprocess.run(command, check=True)
    return began, time.time()


def remove_run(folder: Path) -> None:
    """Remove a run folder, if there is one; what is anything else stays, for `nas run` to refuse."""
    if RunFolder(folder).study.exists():
        shutil.rmtree(folder)


def finals_began(folder: Path, ended: float) -> float:
    """When the first finalist or reference was begun; the end of the run where there was none."""
    files = [file for phase in OWN_RECIPE for file in folder.glob(f"artifacts/*/{phase}-*/evaluation.json")]
    found = [Evaluation.model_validate_json(file.read_bytes()).started_at for file in files]
    return min((datetime.fromisoformat(moment).timestamp() for moment in found), default=ended)


def compared(expected: Estimate, taken: dict[str, float]) -> dict[str, dict[str, float]]:
    """By part: the range, its middle, what it took, and how many times the middle that is."""
    found = {}
    for part in PARTS:
        own: Seconds = getattr(expected, part)
        ratio = own.middle / taken[part] if taken[part] else 1.0
        found[part] = {**asdict(own), "middle": own.middle, "taken": taken[part], "said_by_taken": ratio}
    return found


def table_of(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Said by the probe, and taken")
    for column in ("study", "part", "said", "about", "taken", "said / taken"):
        table.add_column(column, justify="left" if column in ("study", "part") else "right")
    for row in rows:
        for part in PARTS:
            own = row["parts"][part]
            said = span(Seconds(own["low"], own["high"]))
            figures = (duration(own["middle"]), duration(own["taken"]), f"{own['said_by_taken']:.2f}")
            table.add_row(row["study"] if part == PARTS[0] else "", part, said, *figures)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="the run folder; removed first")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    study = load_study(arguments.study, arguments.overrides)
    os.environ.update(worker_environment(threads_per_worker(study.search.worker_count, study.space.input_sizes[-1])))
    remove_run(arguments.out)

    began = time.time()
    expected = probe(study, say=print).estimate
    probing = time.time() - began
    started, ended = run(arguments.study, arguments.overrides, arguments.out)
    middle = finals_began(arguments.out, ended)
    taken = {"search": middle - started, "finalists": ended - middle, "total": ended - started}

    name = " ".join([study.name, *arguments.overrides])
    rows = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else []
    rows = [row for row in rows if row["study"] != name]
    rows.append({"study": name, "probe_seconds": probing, "parts": compared(expected, taken)})
    Console(width=140).print(table_of(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
