"""Regret over evaluations: what is missing to the best hypervolume, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
from run_log import Run
from summary import grouped, median_at

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

OURS_FIRST = 2.4  # line widths
OTHERS = 1.1
COLORS = [f"C{number}" for number in range(10)]  # by sampler, the same in every panel


def draw(runs: Iterable[Run], out: Path, *, panels: Sequence[str], measure: str = "clean") -> None:
    """One panel per problem that has runs; bands are 95 % intervals of the median."""
    runs = list(runs)
    shown = [name for name in panels if any(run.plan.problem == name for run in runs)]
    if not shown:
        return
    names = list(dict.fromkeys(run.plan.sampler for run in runs))
    figure, plots = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 4.2), squeeze=False)
    for plot, problem in zip(plots[0], shown, strict=True):
        _panel(plot, problem, [run for run in runs if run.plan.problem == problem], measure, names)
    plots[0][0].set_ylabel("regret: hypervolume missing to the best")
    plots[0][0].legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def best_known(runs: Sequence[Run], measure: str) -> float:
    """1 where shares are of an exact front; else a hair above what the best run reached."""
    best = max(run.shares[measure][-1] for run in runs)
    return 1.0 if runs[0].plan.problem.startswith("nb201") else best * 1.01


def _panel(plot: Axes, problem: str, runs: Sequence[Run], measure: str, names: Sequence[str]) -> None:
    best = best_known(runs, measure)
    for (_, sampler), group in grouped(runs).items():
        looks = sorted({look for run in group for look in run.looks})
        found = [(look, interval) for look in looks if (interval := median_at(group, measure, look)) is not None]
        x, middle = [look for look, _ in found], [best - interval.value for _, interval in found]
        width = OURS_FIRST if sampler.startswith("ours") else OTHERS
        color = COLORS[names.index(sampler) % len(COLORS)]
        plot.plot(x, middle, label=sampler, linewidth=width, color=color)
        low, high = [best - i.high for _, i in found], [best - i.low for _, i in found]
        plot.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    plot.set_xscale("log")
    plot.set_yscale("log")
    plot.set_xlabel("evaluations")
    plot.set_title(problem)
    plot.grid(alpha=0.3, which="both")
