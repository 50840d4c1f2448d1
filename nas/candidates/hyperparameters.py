"""Searched training numbers: asking for them, their middles, and names for sets of them. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nas.study import Choices, Range, Training
from search_spaces.trials import middle_of_range

GENE_PREFIX = "training."
Number = float | str  # a training number, or a word where the study lists words
Numbers = Mapping[str, Number]


class NumberTrial(Protocol):
    """What `ask_numbers` needs; optuna.Trial satisfies it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


def ask_numbers(trial: NumberTrial, training: Training) -> dict[str, Number]:
    """A value for every searched number; the gene of `ema` is `training.ema`."""
    return {name: _ask(trial, GENE_PREFIX + name, freedom) for name, freedom in training.searched.items()}


def _ask(trial: NumberTrial, gene: str, freedom: Range[Any] | Choices[Any]) -> Number:
    if isinstance(freedom, Range):
        return trial.suggest_float(gene, freedom.low, freedom.high, log=freedom.log)
    choices: Sequence[Number] = freedom.choices
    if len(choices) == 1:
        return choices[0]
    answer = trial.suggest_categorical(gene, choices)
    return next(choice for choice in choices if choice == answer)  # of the type that the study has


def middle_numbers(training: Training) -> dict[str, Number]:
    """The middle of every range (the geometric one on a logarithmic scale) and of every list of choices."""
    return {name: _middle(freedom) for name, freedom in training.searched.items()}


def _middle(freedom: Range[Any] | Choices[Any]) -> Number:
    if isinstance(freedom, Choices):
        choices: Sequence[Number] = freedom.choices
        return choices[(len(choices) - 1) // 2]
    return middle_of_range(freedom.low, freedom.high, log=freedom.log)


def number_genes(training: Training) -> list[str]:
    """The genes of a study's searched numbers, in the order they are asked for."""
    return [
        GENE_PREFIX + name
        for name, freedom in training.searched.items()
        if isinstance(freedom, Range) or len(freedom.choices) > 1
    ]


def suffix_of(numbers: Mapping[str, Any]) -> str:
    """Suffix of an artifact's folder name, different for different settings of a training; empty without any."""
    if not numbers:
        return ""
    text = json.dumps(dict(numbers), sort_keys=True, separators=(",", ":"))
    return f"-t{hashlib.sha256(text.encode()).hexdigest()[:6]}"
