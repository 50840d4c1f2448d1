"""A grid proposes every leaf once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from conditional_genes import EXPANSIONS, KERNELS, WIDTHS, draw

from nas.samplers.grid import GridSampler, SpaceTooLarge, leaves
from nas.search.journal import Journal


def small(trial: Any) -> Any:
    """1 + 2 + 3 leaves."""
    depth = trial.suggest_int("depth", 1, 3)
    return depth, trial.suggest_int("kind", 1, depth)


def by_hand(trial: Any) -> None:
    small(trial)


def test_leaves_of_a_conditional_space() -> None:
    found = [params for _, params in leaves(by_hand)]
    assert len(found) == len({str(params) for params in found}) == 6
    assert {"depth": 2, "kind": 2} in found


def test_leaves_are_as_many_as_the_space_has() -> None:
    block = len(KERNELS) * len(EXPANSIONS)
    count = len(WIDTHS) * (block + block**2 + block**3)
    assert sum(1 for _ in leaves(draw, largest=count)) == count
    with pytest.raises(SpaceTooLarge, match="expected a space of at most 1,000 candidates"):
        list(leaves(draw, largest=1000))


def test_steps_are_leaves_and_ranges_are_refused() -> None:
    found = [params["rate"] for _, params in leaves(lambda trial: trial.suggest_float("rate", 0.1, 0.5, step=0.1))]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    with pytest.raises(SpaceTooLarge, match="gene rate: expected choices or a range with a step"):
        list(leaves(lambda trial: trial.suggest_float("rate", 0.1, 0.5)))


def test_an_optuna_study_sees_every_leaf_once_and_begins_again() -> None:
    study = optuna.create_study(sampler=GridSampler(small, seed=3))
    study.optimize(lambda trial: float(small(trial)[0]), n_trials=6)
    assert len({str(trial.params) for trial in study.trials}) == 6
    study.optimize(lambda trial: float(small(trial)[0]), n_trials=2)
    assert len(study.trials) == 8


def test_the_order_is_the_seeds() -> None:
    def order(seed: int) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=GridSampler(small, seed=seed))
        study.optimize(lambda trial: float(small(trial)[0]), n_trials=6)
        return [trial.params for trial in study.trials]

    assert order(1) == order(1) != order(2)


def test_running_trials_are_not_repeated() -> None:
    study = optuna.create_study(sampler=GridSampler(small, seed=0))
    asked = [study.ask() for _ in range(6)]
    assert len({small(trial) for trial in asked}) == 6


def test_equal_records_are_one_leaf() -> None:
    def space(trial: Any) -> Any:
        return trial.suggest_categorical("a", (1, 2, 3)) + trial.suggest_categorical("b", (1, 2, 3))

    study = optuna.create_study(sampler=GridSampler(space, seed=0))
    study.optimize(lambda trial: float(space(trial)), n_trials=5)
    assert sorted(trial.values[0] for trial in study.trials) == [2, 3, 4, 5, 6]


def test_a_restart_goes_on(tmp_path: Path) -> None:
    found = []
    for _ in range(6):
        journal = Journal(tmp_path / "study.log", "study", ["minimize"])
        number, drawn = journal.ask(GridSampler(small, seed=0), small, lambda _: {})
        if number % 2:
            journal.tell(number, [1.0], notes={})
        found.append(drawn)
    assert len(set(found)) == 6


def test_another_space_is_refused() -> None:
    study = optuna.create_study(sampler=GridSampler(small, seed=0))
    with pytest.raises(ValueError, match="gene other: expected one of the grid's space"):
        study.ask().suggest_int("other", 1, 3)


def test_threads_share_a_grid() -> None:
    """No leaf is proposed twice where several threads ask at once."""

    class Slow(tuple[int, int]):
        def __hash__(self) -> int:
            time.sleep(0.001)  # lets the next thread in while leaves are compared
            return super().__hash__()

    study = optuna.create_study(sampler=GridSampler(lambda trial: Slow(small(trial)), seed=0))
    study.optimize(lambda trial: float(small(trial)[0]), n_trials=6, n_jobs=6)
    assert len({str(trial.params) for trial in study.trials}) == 6
