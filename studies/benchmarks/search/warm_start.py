"""What earlier trials on other data are worth: NAS-Bench-201 on CIFAR-10 after fifty trials on CIFAR-100, and without.

    python studies/benchmarks/search/warm_start.py --table nasbench201_acc_latency.csv.gz --json warm-start.json

The earlier trials are a search of ours for another seed. Their accuracies are believed as a study's `search.warm_start`
believes them, and the model decides as soon as it does there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from cells import Cells, read_table
from intervals import of_mean, of_median
from ours import exact
from problems import Params
from rich.console import Console
from rich.table import Table
from run_log import Plan, Run, evaluate_until, perform

from nas.samplers.pareto import ParetoSampler
from nas.search.beliefs import Belief
from nas.search.modelled import STARTUP, WARM_STARTUP

OTHER = "c100_test_200ep"
EARLIER, EVALUATIONS = 50, 25
LOOKS = (5, 10, 15, 20, 25)

Prior = Callable[[Params], float]


class OnOtherData(Cells):
    """The same cells with their error on other data."""

    def __init__(self, table: pd.DataFrame, device: str, accuracies: pd.Series[float]) -> None:
        super().__init__(table, device)
        self.errors = (100 - accuracies.loc[self.frame["arch"]]).to_numpy()

    def values(self, params: Params, random: np.random.Generator) -> tuple[float, ...]:
        index = self.index(params)
        own = super().values(params, random)
        return own if index is None else (float(self.errors[index]), *own[1:])


def sampler(problem: Cells, seed: int, prior: Prior | None = None) -> ParetoSampler:
    """Costs are exact; beside a prior the model decides as soon as in a study with a warm start."""
    if prior is None:
        return exact(problem, seed, startup=STARTUP)
    return exact(problem, seed, startup=WARM_STARTUP, priors=lambda params: (prior(params), None, None))


def believed(other: OnOtherData, seed: int) -> Prior:
    """Errors in per cent as fifty trials on the other data let one believe them."""
    study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler(other, seed))
    tried, _ = evaluate_until(study, other, Plan(other.name, "earlier", seed, EARLIER))
    known = [(params, index) for params in tried if (index := other.index(params)) is not None]
    features = np.array([other.features(params, with_latency=True) for params, _ in known])
    accuracies = np.array([1 - other.errors[index] / 100 for _, index in known])
    belief = Belief.of(features, np.zeros(len(known), dtype=np.intp), accuracies)
    return lambda params: 100 * (1 - belief(np.asarray(other.features(params, with_latency=True), dtype=np.float64)))


def pair(problem: Cells, other: OnOtherData, seed: int) -> tuple[Run, Run]:
    """A search without and one with what was found before."""
    cold, warm = (Plan(problem.name, name, seed, EVALUATIONS) for name in ("cold", "warm"))
    prior = believed(other, seed + 1000)
    return perform(cold, problem, sampler(problem, seed)), perform(warm, problem, sampler(problem, seed, prior))


def show(pairs: Sequence[tuple[Run, Run]]) -> None:
    table = Table(title="Share of the exact front's hypervolume, noise averaged out: median (95 %) by evaluations")
    for column in ("evaluations", "cold", "warm", "mean difference"):
        table.add_column(column, justify="right")
    for look in LOOKS:
        cold, warm = ([run.at("clean", look) for run in runs] for runs in zip(*pairs, strict=True))
        gain = of_mean([b - a for a, b in zip(cold, warm, strict=True)])
        table.add_row(str(look), str(of_median(cold)), str(of_median(warm)), str(gain))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="NAS-Bench-201 with latencies, a CSV file")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    frame = read_table(options.table)
    accuracies = pd.read_csv(options.table, usecols=["arch", OTHER]).set_index("arch")[OTHER]
    problem, other = Cells(frame, "pi5"), OnOtherData(frame, "pi5", accuracies)
    pairs = [pair(problem, other, seed) for seed in range(options.seeds)]
    show(pairs)
    if options.json:
        found = [{run.plan.sampler: dict(zip(run.looks, run.shares["clean"], strict=True)) for run in p} for p in pairs]
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
