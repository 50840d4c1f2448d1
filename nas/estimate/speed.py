"""Speed: seconds of a training step, and of all that stands around a training, by what a network computes. No torch.

Few networks are timed, so a fit keeps to the ratios that the terms usually have, and departs from them as far as the
times say so: least squares of relative errors with a ridge around the usual ratios, none of them negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from compressors.steps import stage_names
from nas.candidates.candidate import Candidate
from nas.estimate.computing import Row

# Seconds of one unit of each of TERMS on a core of a 2.x GHz server; only their ratios matter once something is timed.
_IN_FLOATS = np.array([2.5e-4, 4.0e-9, 5.0e-11, 2.0e-10, 3.0e-9])
LAST = "quantized"  # whose rates stand for those of a stage that is not known
USUAL: Mapping[str, Row] = {
    **dict.fromkeys(stage_names(), _IN_FLOATS),
    LAST: np.array([4.0e-4, 8.0e-9, 5.0e-11, 2.0e-10, 1.0e-8]),
}
RIDGE = 0.01


@dataclass(frozen=True)
class Timed:
    """Seconds that a training step of a stage took, with what it computes (`nas.estimate.computing.row_of`)."""

    stage: str
    row: Row
    seconds: float


@dataclass(frozen=True)
class Line:
    """Seconds that grow with a network's MACs."""

    fixed: float
    per_mac: float = 0.0

    def at(self, macs: float) -> float:
        return self.fixed + self.per_mac * macs

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line:
        """Least squares of (macs, seconds), neither number negative."""
        macs = np.array([point[0] for point in points])
        scale = max(1.0, float(macs.max()))
        columns = np.column_stack([np.ones(len(points)), macs / scale])
        (fixed, slope), _ = nnls(columns, np.array([point[1] for point in points]))
        return cls(float(fixed), float(slope) / scale)


@dataclass(frozen=True)
class Known:
    """A network that was timed: its name among the corners of the space, and its latency on the first target."""

    name: str
    candidate: Candidate
    latency_ms: float


@dataclass(frozen=True)
class Speed:
    """How fast candidates of a study are evaluated here, as its workers do it.

    `rates`: stage -> seconds per unit of each of TERMS. `around`: building, emitting, verifying and scoring, beside
    other workers. `measuring`: one of a candidate's two measurements, for which the machine is its own. `start`: until
    a worker is ready. `known` are the networks that were timed, the smallest first; none where nothing was.
    """

    rates: Mapping[str, Row]
    around: Line
    measuring: Line
    start: float = 0.0
    known: tuple[Known, ...] = ()

    def seconds(self, computed: Mapping[str, Row]) -> float:
        """Of what was computed in each stage (`nas.estimate.computing.Computed`)."""
        return sum(float(row @ self.rates.get(stage, self.rates[LAST])) for stage, row in computed.items())


def fitted(times: Sequence[Timed]) -> dict[str, Row]:
    """Rates by stage; a stage that was not timed is as much faster or slower than usual as the others are."""
    found: dict[str, Row] = {}
    factors = []
    for stage, usual in USUAL.items():
        own = [timed for timed in times if timed.stage == stage]
        if own:
            found[stage] = _fit(own, usual)
            factors.append(_factor(own, usual))
    factor = math.exp(sum(map(math.log, factors)) / len(factors)) if factors else 1.0
    return {stage: found.get(stage, factor * usual) for stage, usual in USUAL.items()}


def _factor(times: Sequence[Timed], usual: Row) -> float:
    """How many times longer than usual steps take, the geometric mean."""
    return math.exp(sum(math.log(timed.seconds / float(timed.row @ usual)) for timed in times) / len(times))


def _fit(times: Sequence[Timed], usual: Row) -> Row:
    """Rates near a multiple of the usual ones: the ridge holds what the times do not tell apart."""
    start = usual * _factor(times, usual)
    shares = np.array([timed.row * start / timed.seconds for timed in times])
    ridge = math.sqrt(RIDGE) * np.eye(len(start))
    wanted = np.concatenate([np.ones(len(times)), np.full(len(start), math.sqrt(RIDGE))])
    factors, _ = nnls(np.vstack([shares, ridge]), wanted)
    return np.asarray(start * factors)
