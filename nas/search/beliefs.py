"""What earlier runs let one believe of a candidate's qualities before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.candidates.candidate import Candidate
from nas.candidates.features import Features
from nas.records import QUALITIES
from nas.samplers.models.evidence import fit_hyperparameters
from nas.samplers.models.processes import GaussianProcess
from nas.search.earlier import EarlierRun, trials_of
from nas.study import Study

Floats = NDArray[np.float64]

MOST = 300  # earlier trials that a belief rests on
FEWEST = 3
EDGE = 0.002  # qualities are compared as logits: those nearer to 0 and 1 count as that near


@dataclass(frozen=True)
class Belief:
    """Believed values of one quality: a Gaussian process over scaled features, in units of an earlier run.

    Every run's logits are centred and divided by their spread, since other data and other epochs have another level and
    another range; what carries over is how candidates compare. Believed values have the runs' mean level and range;
    what these are in the study at hand, its own trials have to show.
    """

    process: GaussianProcess
    center: Floats
    spread: Floats
    level: float
    range: float

    @classmethod
    def of(cls, features: Floats, runs: NDArray[np.intp], values: Floats) -> Belief:
        """From features (n, d), the number of each trial's run (n,), and the quality (n,)."""
        logits = logit(values)
        numbers = np.unique(runs)
        levels = np.array([logits[runs == number].mean() for number in numbers])
        ranges = np.array([logits[runs == number].std() or 1.0 for number in numbers])
        at = np.searchsorted(numbers, runs)
        targets = (logits - levels[at]) / ranges[at]
        center, spread = features.mean(axis=0), features.std(axis=0)
        spread[spread < 1e-9] = 1.0
        scaled = (features - center) / spread
        process = GaussianProcess(fit_hyperparameters(scaled, targets), scaled, targets)
        return cls(process, center, spread, float(levels.mean()), float(ranges.mean()))

    def __call__(self, features: Floats) -> float:
        """The believed value for features (d,)."""
        mean = self.process.mean(((features - self.center) / self.spread)[None])
        return float(1 / (1 + np.exp(-(self.level + self.range * mean[0]))))


class Beliefs:
    """Believed objectives of candidates of a study; None for costs, and for qualities that no earlier run has."""

    def __init__(self, study: Study, num_classes: int, runs: Sequence[EarlierRun]) -> None:
        self._objectives, self._num_classes = study.objectives, num_classes
        self._features = _common_features(Features.of(study.space), runs)
        self._beliefs = {
            name: belief for name in study.objectives if name in QUALITIES and (belief := self._of(name, runs))
        }

    def __call__(self, candidate: Candidate) -> tuple[float | None, ...]:
        """One entry for each objective, in the files' units."""
        if not self._beliefs:
            return (None,) * len(self._objectives)
        features = self._features(candidate, self._num_classes)
        return tuple(self._beliefs[n](features) if n in self._beliefs else None for n in self._objectives)

    def _of(self, quality: str, runs: Sequence[EarlierRun]) -> Belief | None:
        found = list(trials_of(runs, quality))
        if len(found) < FEWEST:
            return None
        found = [found[i] for i in np.linspace(0, len(found) - 1, min(MOST, len(found))).round().astype(int)]
        features = np.array([self._features(trial.candidate, self._num_classes) for _, trial, _ in found])
        numbers = np.array([number for number, _, _ in found], dtype=np.intp)
        return Belief.of(features, numbers, np.array([value for _, _, value in found]))


def _common_features(own: Features, runs: Sequence[EarlierRun]) -> Features:
    """Features that describe the networks of this space and of all earlier runs."""
    architectures = [trial.candidate.architecture for run in runs for trial in run.trials]
    stages = max([own.stages, *(architecture.sections for architecture in architectures)])
    kinds = dict.fromkeys(own.kinds)
    kinds |= dict.fromkeys(site.config.kind for architecture in architectures for site in architecture.blocks())
    return Features(stages, tuple(kinds))


def logit(values: Floats) -> Floats:
    """log(p / (1 - p)) of fractions, finite at the ends too."""
    inside = np.clip(values, EDGE, 1 - EDGE)
    found: Floats = np.log(inside / (1 - inside))
    return found
