"""How well a rung foretells the end: Kendall's tau between the accuracies at each rung and at the end of the training.

    python studies/benchmarks/search/rungs.py studies/digits.yaml --candidates 32 --json digits-rungs.json

Every random candidate of the study's space is trained once to its end with one seed; at each rung a copy is
compressed, emitted and scored, as in a search. Printed are tau-b over the candidates with its 95 % bootstrap interval,
how many of the best quarter in the end are among the better half at the rung, and what a rung costs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

sys.path.append(str(Path(__file__).parents[1]))
from drawing import drawn

from nas.candidates.candidate import Candidate
from nas.data import load
from nas.evaluate import evaluate
from nas.records import State
from nas.run_folder.paths import read_evaluation
from nas.study.file import load_study
from nas.tasks import Task
from nas.workbench import Workbench

RESAMPLES = 2000
RUNGS = (0.1, 0.25, 0.5, 0.75)
ENOUGH = 0.5  # a rung below this tau is off in `search.rungs: auto`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--rungs", type=float, nargs="+", default=RUNGS)
    parser.add_argument("--json", type=Path, help="a file that gets the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(options.study, options.overrides)
    data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    bench = Workbench(study, data)
    looks = []
    for number in range(options.candidates):
        looks.append(looked_at(drawn(study, number), bench, seed=number, rungs=options.rungs))
        print(f"candidate {number}: {', '.join(f'{value:.3f}' for value in looks[-1]['accuracies'])}", flush=True)
    accuracies = np.array([look["accuracies"] for look in looks])  # (candidates, rungs and the end)
    found = [summary(accuracies[:, i], accuracies[:, -1]) for i in range(len(options.rungs))]
    seconds = {key: float(np.mean([look[key] for look in looks])) for key in ("train_seconds", "rung_seconds")}
    Console().print(table_of(options.rungs, found, seconds, study.search_epochs))
    if options.json:
        command = {"study": str(options.study), "overrides": options.overrides, "candidates": options.candidates}
        rows = [{"rung": rung, **row} for rung, row in zip(options.rungs, found, strict=True)]
        text = json.dumps({**command, **seconds, "rungs": rows, "accuracies": accuracies.tolist()}, indent=1)
        options.json.write_text(text + "\n")


def looked_at(candidate: Candidate, bench: Workbench, *, seed: int, rungs: Sequence[float]) -> dict[str, Any]:
    """Validation accuracies of the files at the rungs and at the end; seconds of training and of a rung."""
    with tempfile.TemporaryDirectory() as folder:
        # A reference is bound by no constraint: every candidate is trained.
        task = Task(
            seed, candidate, "reference", seed, bench.study.search_epochs, Path(folder) / "own",
            is_constrained=False, rungs=tuple(rungs),
        )  # fmt: skip
        evaluation = evaluate(task, bench)
        records = [*(read_evaluation(task.at_rung(share).folder) for share in rungs), evaluation]
    if evaluation.state is not State.COMPLETE or not all(record and record.validation for record in records):
        raise RuntimeError(f"candidate {candidate.id} is {evaluation.state}: {evaluation.reason}")
    return {
        "accuracies": [record.validation.accuracy for record in records if record and record.validation],
        "train_seconds": evaluation.seconds["train"],
        "rung_seconds": evaluation.seconds["rung"] / len(rungs),
    }


def summary(early: np.ndarray, late: np.ndarray) -> dict[str, float]:
    """Kendall's tau-b with its percentile bootstrap interval, and how many of the best quarter a half would keep."""
    chosen = np.random.default_rng(0).integers(len(early), size=(RESAMPLES, len(early)))
    low, high = np.nanpercentile([kendalltau(early[i], late[i])[0] for i in chosen], [2.5, 97.5])
    best = np.argsort(-late, kind="stable")[: len(late) // 4]
    kept = np.argsort(-early, kind="stable")[: len(early) // 2]
    return {
        "tau": float(kendalltau(early, late)[0]),
        "low": float(low),
        "high": float(high),
        "best_kept": float(np.isin(best, kept).mean()),
    }


def table_of(rungs: Sequence[float], found: list[dict[str, float]], seconds: dict[str, float], epochs: int) -> Table:
    cost = seconds["rung_seconds"] / seconds["train_seconds"]
    table = Table(title="Rungs against the end", caption=f"{epochs} epochs; a rung costs {cost:.1%} of a training")
    for column in ("rung", "tau", "95 % interval", "of the best quarter kept", ""):
        table.add_column(column, justify="right")
    for rung, row in zip(rungs, found, strict=True):
        verdict = "" if row["tau"] >= ENOUGH else "too low: off by default"
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(f"{rung:g}", f"{row['tau']:.2f}", interval, f"{row['best_kept']:.0%}", verdict)
    return table


if __name__ == "__main__":
    main()
