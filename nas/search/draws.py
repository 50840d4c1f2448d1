"""Draws from a study's space: one draw, how many different ones there are, and a random one that is new."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from nas.candidates.candidate import Candidate
from nas.candidates.counting import candidates_of
from nas.candidates.hyperparameters import Number, NumberTrial, ask_numbers
from nas.candidates.sampling import sample_of
from nas.run_folder.rows import Identity, identity_of
from nas.samplers.named import seed_of
from nas.study import Range, Study
from search_spaces.trials import Trial

DRAWS_PER_WAY, MOST_DRAWS = 20, 10_000


class GeneTrial(Trial, NumberTrial, Protocol):
    """What a draw needs; optuna.Trial satisfies it."""


class RandomTrial:
    """A random trial outside any study; `values` are its answers, one per gene however often it is asked."""

    def __init__(self, random: np.random.Generator) -> None:
        self.values: dict[str, Any] = {}
        self._random = random

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.values.setdefault(name, choices[int(self._random.integers(len(choices)))])

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.values.setdefault(name, int(self._random.integers(low, high + 1))))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        share = self._random.random()
        drawn = low * (high / low) ** share if log else low + (high - low) * share
        return float(self.values.setdefault(name, min(drawn, high)))


class Draws:
    """Draws of a study: a candidate, and the training numbers that are searched."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __call__(self, trial: GeneTrial) -> tuple[Candidate, dict[str, Number]]:
        study = self._study
        candidate = sample_of(trial, study)
        return candidate, ask_numbers(trial, study.training)

    def as_record(self, trial: GeneTrial) -> Identity:
        """Draw a candidate; returns what makes it the same evaluation as another."""
        candidate, numbers = self(trial)
        return identity_of(candidate.id, numbers)

    @cached_property
    def ways(self) -> float:
        """The number of ways in which a trial can answer, at most; infinite where a number is searched in a range."""
        numbers = self._study.training.searched.values()
        if any(isinstance(freedom, Range) for freedom in numbers):
            return math.inf
        choices = math.prod(len(freedom.choices) for freedom in numbers if not isinstance(freedom, Range))
        return candidates_of(self._study) * choices

    @property
    def attempts(self) -> int:
        """How many random draws are tried: enough to find even the last one left of a small space."""
        return int(min(MOST_DRAWS, DRAWS_PER_WAY * self.ways))

    def unseen(self, seen: Container[Identity], number: int) -> dict[str, Any] | None:
        """Genes of a random draw whose evaluation is not among `seen`; None where no attempt finds one."""
        random = np.random.default_rng(seed_of(self._study.search.seed, number))
        for _ in range(self.attempts):
            trial = RandomTrial(random)
            candidate, numbers = self(trial)
            if identity_of(candidate.id, numbers) not in seen:
                return trial.values
        return None
