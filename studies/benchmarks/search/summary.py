"""What the runs of `compare.py` say: medians by problem and sampler, and ours beside the best stock sampler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from baselines import BASELINES
from intervals import Interval, of_mean, of_median
from rich.table import Table
from run_log import Run

Runs = Sequence[Run]
SHOWN = (25, 50, 100, 200, 400, 500)
COMPARED = (50, 100)


class Beside(NamedTuple):
    """Ours against a stock sampler after equally many evaluations: the mean difference over the seeds both have."""

    problem: str
    sampler: str
    stock: str
    evaluations: int
    seeds: int
    difference: Interval


class Needed(NamedTuple):
    """Evaluations after which ours has, in the median, what a stock sampler has at its end."""

    problem: str
    sampler: str
    stock: str
    stock_evaluations: int
    needed: int | None

    @property
    def share(self) -> float | None:
        return None if self.needed is None else self.needed / self.stock_evaluations


def grouped(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    found: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.plan.seed):
        found[run.plan.problem, run.plan.sampler].append(run)
    return dict(found)


def values_at(runs: Runs, measure: str, look: int) -> dict[int, float]:
    """By seed, of the runs that went so far."""
    return {run.plan.seed: run.at(measure, look) for run in runs if look in run.looks and measure in run.shares}


def median_at(runs: Runs, measure: str, look: int) -> Interval | None:
    values = values_at(runs, measure, look)
    return of_median(list(values.values())) if values else None


def beside_stock(runs: Iterable[Run], measure: str = "clean") -> list[Beside]:
    """Every sampler that is no baseline against the best baseline at that many evaluations."""
    groups, found = grouped(runs), []
    for problem, sampler in groups:
        for look in COMPARED if sampler not in BASELINES else ():
            stock = best_stock(groups, problem, measure, look)
            ours = values_at(groups[problem, sampler], measure, look)
            theirs = values_at(groups[problem, stock], measure, look) if stock else {}
            seeds = sorted(ours.keys() & theirs.keys())
            if stock and seeds:
                difference = of_mean([ours[seed] - theirs[seed] for seed in seeds])
                found.append(Beside(problem, sampler, stock, look, len(seeds), difference))
    return found


def best_stock(groups: Mapping[tuple[str, str], Runs], problem: str, measure: str, look: int) -> str | None:
    """The baseline with the best median."""
    medians = {name: median_at(groups.get((problem, name), []), measure, look) for name in BASELINES}
    known = {name: interval.value for name, interval in medians.items() if interval is not None}
    return max(known, key=known.__getitem__) if known else None


def evaluations_needed(runs: Iterable[Run], stock: str, measure: str = "clean") -> list[Needed]:
    groups, found = grouped(runs), []
    for problem, sampler in groups:
        theirs = groups.get((problem, stock), [])
        if sampler in BASELINES or not theirs:
            continue
        last = max(look for run in theirs for look in run.looks)
        aim = median_at(theirs, measure, last)
        own = groups[problem, sampler]
        medians = {look: median_at(own, measure, look) for look in sorted({k for run in own for k in run.looks})}
        reached = [look for look, m in medians.items() if m is not None and aim is not None and m.value >= aim.value]
        found.append(Needed(problem, sampler, stock, last, min(reached, default=None)))
    return found


def tables(runs: Iterable[Run]) -> list[Table]:
    """One per problem and measure: median hypervolume share after so many evaluations."""
    groups, found = grouped(runs), []
    for problem in dict.fromkeys(name for name, _ in groups):
        own = {sampler: group for (name, sampler), group in groups.items() if name == problem}
        for measure in dict.fromkeys(measure for group in own.values() for run in group for measure in run.shares):
            found.append(_table(problem, measure, own))
    return found


def _table(problem: str, measure: str, groups: Mapping[str, Runs]) -> Table:
    table = Table(title=f"{problem}: hypervolume, {measure}; median and its 95 % interval", box=None)
    looks = [look for look in SHOWN if any(look in run.looks for group in groups.values() for run in group)]
    for column in ("sampler", "seeds", *map(str, looks), "ms per ask"):
        table.add_column(column, justify="left" if column == "sampler" else "right", no_wrap=True)
    for sampler, group in groups.items():
        cells = [str(found) if (found := median_at(group, measure, look)) else "" for look in looks]
        asks = [1000 * run.seconds / (run.plan.evaluations + run.repeats) for run in group]
        table.add_row(sampler, str(len(group)), *cells, f"{np.median(asks):.0f}")
    return table
