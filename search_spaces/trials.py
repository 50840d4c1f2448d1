"""What answers the questions of a draw: the Protocol `Trial`, which optuna.Trial satisfies, and two simple trials.

A draw asks a trial for every gene by name; what it answers decides what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

Choice = TypeVar("Choice")


class Trial(Protocol):
    """What a draw needs."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...


def ask(trial: Trial, name: str, choices: Sequence[Choice]) -> Choice:
    """The trial's choice for a gene; a single choice is not asked for."""
    answer: Choice = choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)
    return answer


class Replay:
    """A trial that answers from recorded genes. Raises ValueError where a recorded value is not among the choices."""

    def __init__(self, genes: Mapping[str, Any]) -> None:
        self._genes = genes

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._genes[name]
        if value not in choices:
            raise ValueError(f"gene {name}: expected one of {list(choices)}, got {value!r}")
        return value

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._genes[name]
        if not low <= value <= high:
            raise ValueError(f"gene {name}: expected {low}..{high}, got {value!r}")
        return int(value)


class Pick:
    """A trial that answers every question by one rule, `pick(choices)`: `first`, `middle`, `last`, a random choice."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        self._pick = pick

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._pick(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._pick(range(low, high + 1)))


def first(choices: Sequence[Choice]) -> Choice:
    return choices[0]


def middle(choices: Sequence[Choice]) -> Choice:
    """The choice in the middle; of an even number the lower one."""
    return choices[(len(choices) - 1) // 2]


def last(choices: Sequence[Choice]) -> Choice:
    return choices[-1]


def middle_of_range(low: float, high: float, *, log: bool) -> float:
    """The middle between two bounds: arithmetic, or geometric on a logarithmic scale."""
    return math.sqrt(low * high) if log else (low + high) / 2
