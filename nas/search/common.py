"""What many trials have in common, kept once: names of genes, distributions, words of candidates.

Optuna makes each anew for every trial it reads. With 85 genes those are 100 KB a trial, of which a few hold news.
"""

from __future__ import annotations

import sys
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

LONGEST = 64  # longer texts are of one trial alone


class Common:
    """The distributions that were met so far; texts are Python's to keep once."""

    def __init__(self) -> None:
        self._distributions: dict[BaseDistribution, BaseDistribution] = {}

    def keep_once(self, trial: FrozenTrial) -> None:
        """Have a trial hold what others hold already; it stays equal to what it was."""
        own = trial.distributions.items()
        trial.distributions = {sys.intern(name): self._distributions.setdefault(d, d) for name, d in own}
        trial.params = once(trial.params)
        trial.user_attrs = once(trial.user_attrs)


def same(trial: FrozenTrial, other: FrozenTrial) -> None:
    """Have a finished trial hold what its twin in another storage holds."""
    trial.distributions, trial.params, trial.user_attrs = other.distributions, other.params, other.user_attrs


def once(value: Any) -> Any:
    """Plain data, of which each text is kept once; lists and dictionaries are new."""
    if isinstance(value, str):
        return sys.intern(value) if len(value) <= LONGEST else value
    if isinstance(value, dict):
        return {once(key): once(entry) for key, entry in value.items()}
    return [once(entry) for entry in value] if isinstance(value, list) else value
