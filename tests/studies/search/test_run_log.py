"""Runs of the search benchmark are kept, continued and summed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Import = Callable[[str], ModuleType]


def run_of(runs: ModuleType, sampler: str, seed: int, shares: list[float], problem: str = "toy") -> Any:
    looks = runs.LOOKS[: len(shares)]
    return runs.Run(runs.Plan(problem, sampler, seed, looks[-1]), looks, {"clean": shares}, 0, 1.0)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_run_counts_different_networks(module: Import) -> None:
    """Two genes of two choices have four networks, and all of them have the whole hypervolume."""
    runs, baselines = module("run_log"), module("baselines")

    class Toy:
        name, scales = "toy", ("linear", "linear")

        def space(self, trial: Any) -> tuple[int, ...]:
            return tuple(trial.suggest_categorical(gene, (0, 1)) for gene in "ab")

        def values(self, params: dict[str, int], random: np.random.Generator) -> tuple[float, ...]:
            return (float(params["a"]), *self.exact(params))

        def exact(self, params: dict[str, int]) -> tuple[float, ...]:
            return (float(params["b"]),)

        def shares(self, tried: list[dict[str, int]]) -> dict[str, float]:
            return {"clean": len(tried) / 4}

    found = runs.perform(runs.Plan("toy", "random", 0, 10), Toy(), baselines.BASELINES["random"](0))
    assert found.looks == [5, 10]
    assert found.shares == {"clean": [1.0, 1.0]}
    assert found.repeats == runs.MOST_REPEATS * 10


def test_a_file_of_runs_is_read_again_and_survives_a_torn_line(module: Import, tmp_path: Path) -> None:
    runs, file = module("run_log"), tmp_path / "runs.jsonl"
    first, second = run_of(runs, "a", 0, [0.25, 0.5]), run_of(runs, "a", 1, [0.125, 0.5])
    runs.append(file, first)
    with file.open("a") as out:
        out.write('{"plan": {"problem"')
    runs.append(file, second)
    found = runs.read(file)
    assert [(key, list(run.shares["clean"])) for key, run in found.items()] == [
        (("toy", "a", 0), [0.25, 0.5]), (("toy", "a", 1), [0.125, 0.5]),
    ]  # fmt: skip
    plans = [runs.Plan("toy", "a", seed, 10) for seed in range(3)]
    assert runs.missing(plans, found) == plans[2:]
    longer = [runs.Plan("toy", "a", 0, 20)]
    assert runs.missing(longer, found) == longer


def test_a_paired_difference_and_the_evaluations_that_are_needed(module: Import) -> None:
    runs, summary = module("run_log"), module("summary")
    looks = len([look for look in runs.LOOKS if look <= 100])
    theirs = [run_of(runs, "tpe", seed, [0.125 + seed / 8] * looks) for seed in range(4)]
    ours = [run_of(runs, "ours", seed, [0.0, *[0.25 + seed / 8] * (looks - 1)]) for seed in range(4)]
    found = summary.beside_stock([*theirs, *ours])
    assert [(row.stock, row.evaluations, row.seeds) for row in found] == [("tpe", 50, 4), ("tpe", 100, 4)]
    assert {tuple(row.difference) for row in found} == {(0.125, 0.125, 0.125)}
    assert all(row.difference.low > 0 for row in found)
    (needed,) = summary.evaluations_needed([*theirs, *ours], "tpe")
    assert (needed.stock_evaluations, needed.needed, needed.share) == (100, 10, 0.1)


def test_the_best_stock_sampler_is_that_of_the_best_median(module: Import) -> None:
    runs, summary = module("run_log"), module("summary")
    looks = len([look for look in runs.LOOKS if look <= 50])
    groups = summary.grouped(
        [run_of(runs, "random", s, [v] * looks) for s, v in enumerate((0.0, 0.5, 0.5))]
        + [run_of(runs, "tpe", s, [v] * looks) for s, v in enumerate((0.25, 0.25, 1.0))]
    )
    assert summary.best_stock(groups, "toy", "clean", 50) == "random"


def test_intervals_are_of_the_statistic(module: Import) -> None:
    intervals = module("intervals")
    random = np.random.default_rng(0).normal(1.0, 1.0, 400)
    value, low, high = intervals.of_mean(random)
    assert value == pytest.approx(random.mean())
    assert high - low == pytest.approx(2 * 1.96 * random.std() / 20, rel=0.1)
    assert intervals.of_median([1.0, 2.0, 9.0]).value == 2.0
    with pytest.raises(ValueError, match="at least one value"):
        intervals.of_mean([])


def test_the_schedule_is_that_of_the_issue(module: Import) -> None:
    schedule = module("schedule")
    plans = schedule.plans([schedule.MAIN, *schedule.JOINT, *schedule.DEVICES], ["tpe", "ours-exact"])
    counts = {
        (p, s): sum(plan.problem == p and plan.sampler == s for plan in plans)
        for p, s in {(q.problem, q.sampler) for q in plans}
    }
    assert counts[schedule.MAIN, "tpe"] == 20
    assert {counts[name, "ours-exact"] for name in schedule.DEVICES} == {5}
    assert {counts[name, "tpe"] for name in schedule.JOINT} == {10}
    assert sum(plan.evaluations == 500 for plan in plans) == 5 * 6


def test_a_plot_is_drawn(module: Import, tmp_path: Path) -> None:
    runs, plots = module("run_log"), module("plots")
    plots.draw([run_of(runs, "tpe", s, [0.25, 0.5]) for s in range(3)], tmp_path / "out.png", panels=["toy"])
    assert (tmp_path / "out.png").stat().st_size > 1000
