"""Cheap looks before dear trainings: NAS-Bench-201 with trainings of 12 and of 200 epochs.

    python studies/benchmarks/search/fidelity.py --table nasbench201_acc_latency.csv.gz --json search-fidelity.json

Every cell that is proposed is trained for 12 epochs; by that look, successive halving lets a share of them go on to a
training of 200 epochs, which in this table is another one and costs 200 more. Only those count in the hypervolume.
Beside it stands the same sampler where every cell is trained for 200 epochs, by epochs spent.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from cells import Cells, read_table
from intervals import of_median
from ours import exact
from problems import Params
from rich.console import Console
from rich.table import Table

from nas.samplers.halving import RUNGS, Halving, promotable, with_rung

LOOK_EPOCHS, FULL_EPOCHS = 12, 200
BUDGETS = (1000, 2000, 3333, 5000, 10_000)
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Spent(NamedTuple):
    """A full training, and how many epochs had been spent when it was done."""

    epochs: int
    params: Params


def with_looks(problem: Cells, seed: int, *, epochs: int, kept: float) -> list[Spent]:
    """Full trainings within so many epochs, where about the share `kept` of all looks leads to one.

    A trial that waits after its look runs on as soon as it is among the best, as in a study of ours.
    """
    study = optuna.create_study(directions=["minimize"] * 3, sampler=exact(problem, seed))
    halving, random = Halving([kept], scales=problem.scales), np.random.default_rng([seed, 1])
    found, spent, looked, passed = list[Spent](), 0, list[optuna.Trial](), set[int]()
    while spent + FULL_EPOCHS <= epochs:
        points = halving.points([problem.early_values(trial.params) for trial in looked], study.directions)
        ahead = promotable(points, passed, kept) if looked else []
        if ahead:
            trial = looked[ahead[0]]
            passed.add(ahead[0])
            spent += FULL_EPOCHS
            study.tell(trial, problem.values(trial.params, random))
            found.append(Spent(spent, trial.params))
            continue
        trial = study.ask()
        problem.space(trial)
        spent += LOOK_EPOCHS
        trial.set_user_attr(RUNGS, with_rung(trial, kept, problem.early_values(trial.params)))
        looked.append(trial)
    return found


def without_looks(problem: Cells, seed: int, *, epochs: int) -> list[Spent]:
    study = optuna.create_study(directions=["minimize"] * 3, sampler=exact(problem, seed))
    random, found = np.random.default_rng([seed, 1]), list[Spent]()
    for spent in range(FULL_EPOCHS, epochs + 1, FULL_EPOCHS):
        trial = study.ask()
        problem.space(trial)
        study.tell(trial, problem.values(trial.params, random))
        found.append(Spent(spent, trial.params))
    return found


def regrets(problem: Cells, trained: Sequence[Spent], epochs: int) -> dict[int, float]:
    """By budget, up to `epochs`: what the trainings done within it miss of the exact front's hypervolume, clean."""
    return {
        budget: 1 - problem.shares([one.params for one in trained if one.epochs <= budget])["clean"]
        for budget in BUDGETS
        if budget <= epochs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--device", default="pi5")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=BUDGETS[2], help="budget of the searches with looks")
    parser.add_argument("--kept", type=float, default=0.12, help="share of the looks that lead to a full training")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    problem = Cells(read_table(options.table), options.device)
    found: dict[str, list[dict[int, float]]] = {"looks": [], "full": []}
    counts = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        trained = with_looks(problem, seed, epochs=options.epochs, kept=options.kept)
        counts.append(len(trained))
        found["looks"].append(regrets(problem, trained, options.epochs))
        found["full"].append(regrets(problem, without_looks(problem, seed, epochs=BUDGETS[-1]), BUDGETS[-1]))
        print(f"seed {seed}: {len(trained)} full trainings, {found['looks'][-1]}", flush=True)
    show(found, counts)
    if options.json:
        settings = {"epochs": options.epochs, "kept": options.kept, "device": options.device}
        options.json.write_text(json.dumps({**settings, "full_trainings": counts, "regrets": found}, indent=1) + "\n")


def show(found: dict[str, list[dict[int, float]]], counts: Sequence[int]) -> None:
    table = Table(title=f"Regret by epochs spent; with looks {np.median(counts):.0f} full trainings", box=None)
    table.add_column("search")
    for budget in BUDGETS:
        table.add_column(f"{budget:,}", justify="right", no_wrap=True)
    for name, runs in found.items():
        table.add_row(name, *(_cell([run[budget] for run in runs if budget in run]) for budget in BUDGETS))
    Console(width=140).print(table)


def _cell(values: Sequence[float]) -> Any:
    return str(of_median(values)) if values else ""


if __name__ == "__main__":
    main()
