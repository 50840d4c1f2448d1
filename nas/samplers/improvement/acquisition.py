"""What a candidate is worth: the hypervolume that it is expected to add, times how likely it meets the constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.pareto import hypervolume
from nas.samplers.improvement.attainment import Attainment
from nas.samplers.improvement.expected import expected_improvement, probability_feasible
from nas.samplers.models.modelling import Models
from nas.samplers.spaces.decoding import Decoded

Floats = NDArray[np.float64]

MET = 0.0, 0.0  # what a candidate has of a constraint that others have
SURELY = 2.326  # standard deviations: the lower end of a 99 % interval


@dataclass(frozen=True)
class Acquisition:
    """Of candidates, given the models and the front: points (m, objectives) in units of the box."""

    models: Models
    points: Floats
    attained: Attainment

    @classmethod
    def of(cls, models: Models, points: Floats) -> Acquisition:
        return cls(models, points, Attainment.of(points[:, models.columns]))

    @property
    def hypervolume(self) -> float:
        """Share of the box that the points dominate."""
        return hypervolume(np.maximum(self.points, 0.0), np.ones(self.points.shape[1]))

    def __call__(self, candidates: Sequence[Decoded]) -> Floats:
        """Shape (n,): what each is worth; less than 0, by how much, where it surely breaks a constraint."""
        models = self.models
        features = models.features(candidates)
        means, sds = models.predict(candidates, features)
        costs = models.scaled_costs(candidates)[:, models.known]
        if not models.learned:  # all is exact: the first objective is one without spread
            means, sds, costs = costs[:, :1], np.zeros((len(candidates), 1)), costs[:, 1:]
        worth = expected_improvement(self.attained, costs, means, sds, offset=models.offsets or None)
        worth = worth * models.feasibility(candidates, features) * _likely(candidates)
        violation = np.array([surely_broken(candidate.slacks) for candidate in candidates])
        return np.where(violation > 0, -violation, worth)


def surely_broken(slacks: Mapping[str, tuple[float, float]]) -> float:
    """By how much constraints are broken at least; 0 where none surely is."""
    return sum(max(0.0, mean - SURELY * sd) for mean, sd in slacks.values())


def _likely(candidates: Sequence[Decoded]) -> Floats:
    """Probability that the constraints which are known beforehand are met, shape (n,)."""
    if not any(candidate.slacks for candidate in candidates):
        return np.ones(len(candidates))
    names = sorted({name for candidate in candidates for name in candidate.slacks})
    pairs = np.array([[candidate.slacks.get(name, MET) for name in names] for candidate in candidates])
    return probability_feasible(pairs[:, :, 0], pairs[:, :, 1])


def points_of(models: Models, told: Floats, running: Sequence[Decoded]) -> Floats:
    """The front's material in units of the box: what was told, raw (n, m), and what is believed of running ones."""
    points = (
        models.box.scaled(models.objectives.minimised(told)) if len(told) else np.zeros((0, len(models.objectives)))
    )
    if not running:
        return points
    means, _ = models.predict(running, models.features(running))
    believed = models.scaled_costs(running)
    for column, i in enumerate(models.learned):
        believed[:, i] = models.transforms[column].back(means[:, column])
    return np.vstack([points, believed])
