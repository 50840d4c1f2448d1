"""Journals with a few trials of a small space, and what makes two trials of them the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.named import make_sampler, seed_of
from nas.search.journal import Direction, Journal

DIRECTIONS: list[Direction] = ["maximize", "minimize"]


def draw(trial: optuna.Trial) -> dict[str, Any]:
    depth = trial.suggest_categorical("depth", (1, 2))
    return {f"gene{i}": trial.suggest_categorical(f"gene{i}", (3, 5, 7)) for i in range(depth)}


def ask(journal: Journal, sampler: str = "random") -> int:
    number = len(journal.trials())
    made = make_sampler(sampler, seed=seed_of(0, number), population=4)
    return journal.ask(made, draw, lambda genes: {"genes": genes})[0]


def tell(journal: Journal, number: int) -> None:
    values, constraints = [0.1 * number, 100.0 + number], {"size_bytes": number - 2.0}
    journal.tell(number, values, constraints=constraints, notes={"row": {"number": number}})


def fill(file: Path, trials: int = 4) -> Journal:
    """All but the last trial are told."""
    journal = Journal(file, "study", DIRECTIONS)
    for _ in range(trials):
        number = ask(journal)
        if number < trials - 1:
            tell(journal, number)
    return journal


def same(first: FrozenTrial, second: FrozenTrial) -> bool:
    def parts(trial: FrozenTrial) -> tuple[Any, ...]:
        values = trial.values if trial.state is TrialState.COMPLETE else None
        return trial.number, trial.state, values, trial.params, trial.user_attrs, trial.constraints

    return parts(first) == parts(second)
