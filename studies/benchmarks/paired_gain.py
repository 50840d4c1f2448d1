"""What one setting is worth: the same candidates, seeds and data with and without it, as paired differences.

    python studies/benchmarks/paired_gain.py studies/digits.yaml --set compression.learned_step_sizes='[int2]' \
        --both compression.weight_format='[int2]' --pairs 8

Every pair draws a candidate from the study's space and trains it twice with one seed, once with `--set`. Printed are
the validation accuracies of the shipped files, the mean difference and its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing import drawn
from rich.console import Console
from rich.table import Table

from nas.candidates.candidate import Candidate
from nas.data import load
from nas.evaluate import evaluate
from nas.records import State
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.workbench import Workbench

RESAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--set", nargs="+", required=True, metavar="KEY=VALUE", help="the setting that is judged")
    parser.add_argument("--both", nargs="*", default=[], metavar="KEY=VALUE", help="settings of both sides")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--json", type=Path, help="a file that gets the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sides = {"without": load_study(options.study, options.both)}
    sides["with"] = load_study(options.study, [*options.both, *options.set])
    accuracies = paired(sides, options.pairs)
    found = summary(accuracies)
    Console().print(table_of(accuracies, found, " ".join(options.set)))
    if options.json:
        command = {"study": str(options.study), "set": options.set, "both": options.both}
        options.json.write_text(json.dumps({**command, **found, "accuracies": accuracies}, indent=1) + "\n")


def paired(sides: dict[str, Study], pairs: int) -> list[dict[str, float]]:
    benches = {name: bench_of(study) for name, study in sides.items()}
    found = []
    for pair in range(pairs):
        candidate = drawn(sides["without"], pair)
        found.append({name: accuracy(candidate, bench, seed=pair) for name, bench in benches.items()})
        print(f"pair {pair}: " + ", ".join(f"{name} {value:.4f}" for name, value in found[-1].items()), flush=True)
    return found


def bench_of(study: Study) -> Workbench:
    data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    return Workbench(study, data)


def accuracy(candidate: Candidate, bench: Workbench, *, seed: int) -> float:
    """Validation accuracy of the file that would ship, whatever it costs: a reference is bound by no constraint."""
    with tempfile.TemporaryDirectory() as folder:
        task = Task(seed, candidate, "reference", seed, bench.study.training.epochs, Path(folder), is_constrained=False)
        evaluation = evaluate(task, bench)
    if evaluation.state is not State.COMPLETE or evaluation.validation is None:
        raise RuntimeError(f"candidate {candidate.id} is {evaluation.state}: {evaluation.reason}")
    return evaluation.validation.accuracy


def summary(accuracies: list[dict[str, float]]) -> dict[str, Any]:
    """Mean paired difference (with - without) and its 95 % percentile bootstrap interval."""
    differences = np.array([pair["with"] - pair["without"] for pair in accuracies])
    chosen = np.random.default_rng(0).integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.percentile(differences[chosen].mean(axis=1), [2.5, 97.5])
    return {"pairs": len(differences), "mean": float(differences.mean()), "low": float(low), "high": float(high)}


def table_of(accuracies: list[dict[str, float]], found: dict[str, Any], setting: str) -> Table:
    table = Table(
        title=f"Gain of {setting}",
        caption=f"mean {found['mean']:+.2%}, 95 % interval {found['low']:+.2%} to {found['high']:+.2%}",
    )
    for column in ("pair", "without", "with", "difference"):
        table.add_column(column, justify="right")
    for number, pair in enumerate(accuracies):
        difference = pair["with"] - pair["without"]
        table.add_row(str(number), f"{pair['without']:.2%}", f"{pair['with']:.2%}", f"{difference:+.2%}")
    return table


if __name__ == "__main__":
    main()
