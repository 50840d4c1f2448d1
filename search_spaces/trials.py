"""Trials a space can be drawn from: the Protocol that optuna.Trial satisfies, a replay, a fixed rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol


class Trial(Protocol):
    """What `sample` needs; optuna.Trial and a dictionary replayer satisfy it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...


class Replay:
    """A trial that answers from recorded genes and refuses a value outside the choices."""

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
    """A trial that answers every question by one rule, `pick(choices)`: min, max, a random choice ..."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        self._pick = pick

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._pick(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._pick(range(low, high + 1)))


def first(choices: Sequence[Any]) -> Any:
    return choices[0]


def middle(choices: Sequence[Any]) -> Any:
    return choices[(len(choices) - 1) // 2]


def last(choices: Sequence[Any]) -> Any:
    return choices[-1]


def ask(trial: Trial, name: str, choices: Sequence[Any]) -> Any:
    """A question that a single choice answers is not asked."""
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


def middle_of_range(low: float, high: float, *, log: bool) -> float:
    return math.sqrt(low * high) if log else (low + high) / 2
