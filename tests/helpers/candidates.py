"""Draws of candidates from the mobile presets, with what was asked and answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.study import Compression
from search_spaces.spaces import PRESETS, MobileSpace
from search_spaces.trials import Pick, Trial

FULL = {"pruning_ratio": (0.0, 0.25, 0.5), "weight_format": ("fp32", "int8", "int4")}
LEVELS = ("network", "stage", "block", "layer")
draws = st.tuples(st.sampled_from(sorted(PRESETS)), st.integers(0, 2**32), st.sampled_from(LEVELS))


class Recording:
    """A trial that asks another one, once per name as Optuna does, and keeps the answers."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.genes: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name not in self.genes:
            self.genes[name] = self._trial.suggest_categorical(name, choices)
        assert self.genes[name] in choices
        return self.genes[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))


def draw_candidate(preset: str, seed: int, level: str, **compression: Any) -> tuple[Candidate, dict[str, Any]]:
    trial = Recording(Pick(random.Random(seed).choice))
    space = MobileSpace.model_validate({"preset": preset})
    candidate = sample(trial, space, freedom(level, **compression), input_channels=3)
    return candidate, trial.genes


def freedom(level: str, **fields: Any) -> Compression:
    return Compression.model_validate({**FULL, "granularity": level, **fields})
