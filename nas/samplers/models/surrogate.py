"""A Gaussian process of one learned quantity over a study that grows: when it is fitted again, and on what it rests.

A fit is written down with the numbers of the trials it rests on, so that another process, or this one after a restart,
knows the same. The factor over the first trials, a multiple of BLOCK, is kept; later ones extend it. What is predicted
depends on the observations alone, to the last bit, and not on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.samplers.models.evidence import Hyperparameters, fit_hyperparameters, squared_distances
from nas.samplers.models.processes import GaussianProcess

Floats = NDArray[np.float64]

ALWAYS = 30  # up to so many observations every new one changes the hyper-parameters
GROWTH = 1.1  # from then on a tenth more
SUBSET = 300  # observations that hyper-parameters rest on, at most
STEPS, LATER_STEPS, MANY = 40, 20, 100  # of a search; from MANY observations on the last fit is near
BLOCK = 128
CONDITIONED = 640  # observations that predictions rest on, at most: the time of an ask grows with their square
SPREAD = 0.25  # share of these that are from everywhere, so that what is far away is known to be worse


@dataclass(frozen=True)
class Observations:
    """What was observed, in order of trial number: `features` (n, d), `targets` (n,).

    `extra_noise` (n,) are known variances, of what was observed only roughly; `prior` (n,) was believed before.
    """

    numbers: NDArray[np.int64]
    features: Floats
    targets: Floats
    extra_noise: Floats
    prior: Floats

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, places: NDArray[np.intp]) -> Observations:
        return Observations(
            self.numbers[places], self.features[places], self.targets[places], self.extra_noise[places],
            self.prior[places],
        )  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """Hyper-parameters, the trials they rest on, and how many observations there were."""

    hyperparameters: Hyperparameters
    numbers: tuple[int, ...]
    count: int

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "numbers": list(self.numbers), **self.hyperparameters.to_json()}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Fit:
        rest = {key: value for key, value in written.items() if key not in ("count", "numbers")}
        return cls(Hyperparameters.from_json(rest), tuple(written["numbers"]), written["count"])

    def is_due(self, count: int, columns: int) -> bool:
        """Whether so many observations, of so many features, ask for another fit."""
        if columns != len(self.hyperparameters.log_lengths):
            return True
        return count > self.count and (count < ALWAYS or count >= GROWTH * self.count)


def fitted(observations: Observations, last: Fit | None, *, groups: NDArray[np.intp], notable: frozenset[int]) -> Fit:
    """Another fit, from where the last one ended. Of many observations a part: the notable, and others evenly."""
    part = observations.at(_subset(observations, notable))
    columns = observations.features.shape[1]
    start = last.hyperparameters if last is not None and len(last.hyperparameters.log_lengths) == columns else None
    found = fit_hyperparameters(
        part.features, part.targets, extra_noise=part.extra_noise, prior_mean=part.prior, groups=groups, start=start,
        steps=STEPS if len(part) <= MANY else LATER_STEPS,
    )  # fmt: skip
    return Fit(found, tuple(part.numbers.tolist()), len(observations))


def _subset(observations: Observations, notable: frozenset[int]) -> NDArray[np.intp]:
    """Places of at most SUBSET observations, in order: the newest notable ones, half at most, and others evenly."""
    count = len(observations)
    if count <= SUBSET:
        return np.arange(count)
    chosen = np.flatnonzero(np.isin(observations.numbers, sorted(notable)))[-SUBSET // 2 :]
    others = np.setdiff1d(np.arange(count), chosen)
    evenly = np.linspace(0, len(others) - 1, SUBSET - len(chosen)).round().astype(np.intp)
    return np.sort(np.concatenate([chosen, others[evenly]]))


@dataclass
class Factors:
    """The factor over the first observations, kept from ask to ask."""

    _kept: tuple[bytes, GaussianProcess] | None = field(default=None, repr=False)

    def process(self, hyperparameters: Hyperparameters, observations: Observations) -> GaussianProcess:
        """The posterior given these observations."""
        first = len(observations) // BLOCK * BLOCK or len(observations)
        base, rest = _split(observations, first)
        name = _name(hyperparameters, base)
        if self._kept is None or self._kept[0] != name:
            self._kept = name, _conditioned(hyperparameters, base)
        process = self._kept[1]
        return extended(process, rest) if len(rest) else process


def extended(process: GaussianProcess, more: Observations) -> GaussianProcess:
    """The posterior after more observations."""
    return process.extended(more.features, more.targets, extra_noise=more.extra_noise, prior_mean=more.prior)


def believed(observations: Observations, process: GaussianProcess) -> Observations:
    """Observations as the process predicts them (a kriging believer: Ginsbourger, Le Riche and Carraro 2010)."""
    mean, _ = process.predict(observations.features, prior_mean=observations.prior)
    return replace(observations, targets=mean)


def nearest(observations: Observations, hyperparameters: Hyperparameters, to: Floats) -> Observations:
    """At most CONDITIONED observations: those near one of `to` (p, d), and some evenly among the others."""
    count = len(observations)
    if count <= CONDITIONED or not len(to):
        return observations
    distances = squared_distances(hyperparameters.scaled(observations.features), hyperparameters.scaled(to)).min(axis=1)
    order = np.argsort(distances, kind="stable")
    near = CONDITIONED - int(SPREAD * CONDITIONED)
    others = np.sort(order[near:])
    evenly = np.linspace(0, len(others) - 1, CONDITIONED - near).round().astype(np.intp)
    return observations.at(np.sort(np.concatenate([order[:near], others[evenly]])))


def _conditioned(hyperparameters: Hyperparameters, given: Observations) -> GaussianProcess:
    return GaussianProcess(
        hyperparameters, given.features, given.targets, extra_noise=given.extra_noise, prior_mean=given.prior
    )


def _split(observations: Observations, first: int) -> tuple[Observations, Observations]:
    places = np.arange(len(observations))
    return observations.at(places[:first]), observations.at(places[first:])


def _name(hyperparameters: Hyperparameters, base: Observations) -> bytes:
    """What the factor depends on: other targets leave it as it is, but the weights are kept with it."""
    parts = (base.numbers, base.features, base.targets, base.extra_noise, base.prior)
    return repr(hyperparameters).encode() + b"".join(part.tobytes() for part in parts)
