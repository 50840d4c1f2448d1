"""Trials outside any study: a sampler draws from a define-by-run space with them before it proposes anything.

A gene's value is written as a *unit*, a number in [0, 1): the cell of a choice or whole number, the place in a range.
So a pool of candidates is a matrix, (n, genes), and drawing, crossing and mutating are arithmetic on it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Choice = TypeVar("Choice")
Params = Mapping[str, Any]

BELOW_ONE = math.nextafter(1.0, 0.0)


class Choices(NamedTuple):
    """The question that `suggest_categorical` asks."""

    choices: tuple[Any, ...]


class Whole(NamedTuple):
    """The question that `suggest_int` asks."""

    low: int
    high: int
    step: int
    log: bool


class Real(NamedTuple):
    """The question that `suggest_float` asks."""

    low: float
    high: float
    step: float | None
    log: bool


Question = Choices | Whole | Real


class UnknownGene(LookupError):
    """A recorded trial has no answer, or none that is allowed today."""


class UnitTrial:
    """Answers each gene from its unit in `units`; a gene that is not among them gets one that its name and `salt` fix.

    `params` and `questions` are what was asked so far.
    """

    def __init__(self, units: Mapping[str, float], *, salt: float = 0.0) -> None:
        self.params: dict[str, Any] = {}
        self._asked: dict[str, Whole | Real | Sequence[Any]] = {}
        self._units, self._salt = units, salt

    @property
    def questions(self) -> dict[str, Question]:
        return {
            name: asked if isinstance(asked, Whole | Real) else Choices(tuple(asked))
            for name, asked in self._asked.items()
        }

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        answer: Choice
        if name in self.params:  # this runs for every gene of every candidate of a pool: nothing more than it must
            answer = self.params[name]
            return answer
        unit = self._units.get(name)
        if unit is None:
            unit = unit_by_name(name, self._salt)
        answer = self.params[name] = choices[int(unit * len(choices))]
        self._asked[name] = choices
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._ranged(name, Whole(low, high, step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._ranged(name, Real(low, high, step, log)))

    def _ranged(self, name: str, question: Whole | Real) -> float:
        if name not in self.params:
            self._asked[name] = question
            unit = self._units.get(name)
            self.params[name] = value_at(question, unit_by_name(name, self._salt) if unit is None else unit)
        answer: float = self.params[name]
        return answer


class GivenTrial:
    """Answers each gene with its value in `params`.

    Raises UnknownGene for a gene that is not among them, or whose value is not one of those asked for.
    """

    def __init__(self, params: Params) -> None:
        self.params: dict[str, Any] = {}
        self._given = params

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        answer: Choice = self._answer(name, Choices(tuple(choices)))
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._answer(name, Whole(low, high, step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._answer(name, Real(low, high, step, log)))

    def _answer(self, name: str, question: Question) -> Any:
        if name not in self._given:
            raise UnknownGene(f"gene {name}: expected a value, got none")
        value = self._given[name]
        if not allows(question, value):
            raise UnknownGene(f"gene {name}: expected one of {question}, got {value!r}")
        self.params[name] = value
        return value


def question_of(distribution: BaseDistribution) -> Question:
    """What was asked for a gene, from the distribution that Optuna recorded."""
    match distribution:
        case CategoricalDistribution():
            return Choices(tuple(distribution.choices))
        case IntDistribution():
            return Whole(distribution.low, distribution.high, distribution.step, distribution.log)
        case FloatDistribution():
            return Real(distribution.low, distribution.high, distribution.step, distribution.log)
    raise TypeError(f"distribution: expected categorical, int or float, got {distribution!r}")


def ask(trial: UnitTrial | GivenTrial, name: str, question: Question) -> Any:
    """Ask a trial a question."""
    match question:
        case Choices(choices):
            return trial.suggest_categorical(name, choices)
        case Whole(low, high, step, log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case Real(low, high, stride, log):
            return trial.suggest_float(name, low, high, step=stride, log=log)


def allows(question: Question, value: Any) -> bool:
    """Whether the value is one of those asked for. A step is not checked: recorded values carry rounding errors."""
    if isinstance(question, Choices):
        return any(_same(value, choice) for choice in question.choices)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and question.low <= value <= question.high


def cells_of(question: Question) -> int:
    """How many cells of equal width the units have; 0 where the values are not spread evenly, or continuous."""
    if isinstance(question, Choices):
        return len(question.choices)
    return 0 if question.log or question.step is None else _steps(question.low, question.high, question.step)


def value_at(question: Question, unit: float) -> Any:
    """The value of a gene at a unit in [0, 1)."""
    if isinstance(question, Choices):
        return question.choices[int(unit * len(question.choices))]
    cells = cells_of(question)
    low, high = _ends(question)
    drawn = low * (high / low) ** unit if question.log else low + (high - low) * unit
    if cells and question.step is not None:
        drawn = question.low + question.step * int(unit * cells)
    inside = min(max(drawn, question.low), question.high)
    return round(inside) if isinstance(question, Whole) else inside


def unit_of(question: Question, value: Any) -> float:
    """The middle of the units at which a gene has this value: `value_at` leads back to it."""
    if isinstance(question, Choices):
        at = next(place for place, choice in enumerate(question.choices) if _same(value, choice))
        return (at + 0.5) / len(question.choices)
    cells = cells_of(question)
    if cells and question.step is not None:
        step = round((value - question.low) / question.step)
        return (min(int(step), cells - 1) + 0.5) / cells
    low, high = _ends(question)
    if high <= low:
        return 0.5
    share: float = math.log(value / low) / math.log(high / low) if question.log else (value - low) / (high - low)
    return min(max(share, 0.0), BELOW_ONE)


def unit_by_name(name: str, salt: float) -> float:
    """A unit that depends on nothing but the name and the salt, the same in every process."""
    return crc32(f"{name}:{salt!r}".encode()) / 2**32


def is_ordered(question: Question) -> bool:
    """Whether neighbouring units are neighbouring values: a range, or choices that are rising or falling numbers."""
    if not isinstance(question, Choices):
        return True
    numbers = [c for c in question.choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(question.choices) or len(numbers) < 3:
        return False
    return numbers in (sorted(numbers), sorted(numbers, reverse=True))


def key_of(params: Params) -> Hashable:
    """Parameters as a key: the same for the same values, whatever the order they were asked in."""
    try:
        return frozenset(params.items())  # which remembers its hash
    except TypeError:
        raise TypeError(f"choices: expected None, bool, int, float or str, got one of {dict(params)!r}") from None


def _same(value: Any, choice: Any) -> bool:
    """Equal and of one kind: True is not 1 here."""
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _ends(question: Whole | Real) -> tuple[float, float]:
    """Where units begin and end: half a number further out on the logarithmic scale of whole numbers."""
    margin = 0.5 if isinstance(question, Whole) and question.log else 0.0
    return question.low - margin, question.high + margin


def _steps(low: float, high: float, step: float) -> int:
    return math.floor((high - low) / step + 1e-8) + 1
