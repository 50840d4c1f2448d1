"""Successive halving in several objectives: which trials train on, by what they have reached on the way.

Asynchronous, as in ASHA (Li et al. 2020, arXiv:1810.05934): nobody waits until a rung is full. Trials are ranked by
non-dominated front and within a front by hypervolume contribution (compare Schmucker et al. 2021, arXiv:2106.12639).
Brackets that begin at a later rung hedge against rungs that mislead, as in Hyperband (Li et al. 2018, JMLR 18:185).

    halving = Halving([0.25, 0.5])
    for rung in halving.rungs:
        ...                                   # train up to this share of the budget
        halving.step(trial, rung, values)     # raises optuna.TrialPruned where others are better
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real

import numpy as np
import optuna
from numpy.typing import ArrayLike, NDArray
from optuna.study import StudyDirection

from nas.front import fronts
from nas.pareto import hypervolume_subset
from nas.samplers.reached import RUNGS, rung_values, with_rung
from nas.samplers.spaces.problem import Scale

__all__ = ["RUNGS", "Halving", "Load", "Scale", "best", "places", "promotable", "rung_values", "with_rung"]

GOLDEN = (math.sqrt(5) - 1) / 2
MARGIN = 0.05  # how far the reference point lies beyond the worst of a rung, relative to the rung's range
SMALLEST = 1e-12  # what is compared by ratio has no logarithm at 0


def best(points: ArrayLike, count: int, violations: Sequence[float] | None = None) -> list[int]:
    """Indices of the best `count` of points (n, m), all minimised, the best first.

    Front by front, and in each greedily by the hypervolume that a point adds to those before it. A point never comes
    before one that dominates it. With `violations` (n,) those at 0 come first, then the others by violation.
    """
    array = np.asarray(points, dtype=np.float64)
    broken = np.zeros(len(array)) if violations is None else np.asarray(violations, dtype=np.float64)
    able = np.flatnonzero(broken == 0)
    chosen = [int(able[i]) for i in _by_merit(array[able], count)] if len(able) else []
    rest = [int(i) for i in np.argsort(broken, kind="stable") if broken[i] > 0]
    return [*chosen, *rest][:count]


def promotable(points: ArrayLike, passed: Collection[int], share: float, *, ended: Collection[int] = ()) -> list[int]:
    """Indices of those that may leave a rung now, the best first: as many as there are places that `passed` left.

    Of n there are share x n places, rounded down: the first trial waits for others to be compared with. Within a front
    those go first that add most hypervolume to its members that have passed. Those that `ended` at the rung count, and
    cannot go on. (ASHA lets all of the best share go that have not; with several objectives nearly all trials are
    among the best for a while, and few would ever stop.)
    """
    array = np.asarray(points, dtype=np.float64)
    free, able = places(len(array), share) - len(passed), [i for i in range(len(array)) if i not in ended]
    if free <= 0 or not able:
        return []
    before = [place for place, index in enumerate(able) if index in passed]
    return [able[place] for place in _by_merit(array[able], free, before)]


def _by_merit(points: NDArray[np.float64], count: int, passed: Collection[int] = ()) -> list[int]:
    """The best `count` that have not `passed`."""
    span = np.ptp(points, axis=0)
    unit = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    corner, order = np.full(points.shape[1], 1 + MARGIN), list[int]()
    for front in fronts(points):
        if len(order) >= count:
            break
        before = [place for place, index in enumerate(front) if int(index) in passed]
        seats = len(before) + count - len(order)
        chosen = hypervolume_subset(unit[front], corner, seats, first=before)
        order += [int(front[place]) for place in chosen[len(before) :]]
    return order


def places(count: int, share: float) -> int:
    """How many of `count` trials are the best `share`, rounded down."""
    return math.floor(count * share + 1e-9)


@dataclass(frozen=True)
class Load:
    """Per trial that comes to its end: whole trainings' worth of epochs, trials begun, and visits to rungs."""

    trainings: float = 1.0
    begun: float = 1.0
    looks: float = 0.0


@dataclass(frozen=True)
class Halving:
    """Rungs of a study: shares of a trial's budget, rising, at which it is compared with the others that came so far.

    From each rung to the next as large a share of trials goes on as the ratio of the two budgets, so that every rung
    costs the same. With `brackets` above 1 trials are dealt out, by number, to brackets that leave out the first 0, 1,
    2... rungs, each of which gets the same budget. `scales` says per objective how differences count: linear or log.
    """

    rungs: Sequence[float]
    brackets: int = 1
    scales: Sequence[Scale] | None = None

    def __post_init__(self) -> None:
        shares = [0.0, *self.rungs, 1.0]
        if not self.rungs or not all(low < high for low, high in pairwise(shares)):
            raise ValueError(f"rungs: expected rising shares between 0 and 1, got {list(self.rungs)}")
        if not 1 <= self.brackets <= len(self.rungs) + 1:
            raise ValueError(f"brackets: expected 1 to {len(self.rungs) + 1} for these rungs, got {self.brackets}")
        if any(scale not in ("linear", "log") for scale in self.scales or ()):
            raise ValueError(f"scales: expected linear or log for each objective, got {self.scales!r}")

    @cached_property
    def _bounds(self) -> list[float]:
        """Where each bracket's share of all trials ends."""
        bounds = np.cumsum(_equal_budgets(self.rungs)[: self.brackets])
        return [float(bound) for bound in bounds / bounds[-1]]

    def bracket_of(self, number: int) -> int:
        """The bracket of a trial: the golden ratio's sequence spreads any run of numbers in proportion."""
        return bisect_right(self._bounds[:-1], ((number + 0.5) * GOLDEN) % 1)

    def rungs_of(self, number: int) -> tuple[float, ...]:
        """The rungs at which a trial may end."""
        return tuple(self.rungs[self.bracket_of(number) :])

    def share_kept(self, rung: float) -> float:
        """The share of trials that goes on from a rung. Raises ValueError for another rung."""
        if rung not in self.rungs:
            raise ValueError(f"rung: expected one of {list(self.rungs)}, got {rung!r}")
        return rung / [*self.rungs, 1.0][list(self.rungs).index(rung) + 1]

    def load(self) -> Load:
        """What one trial that comes to its end costs in the long run, with all that were stopped for it."""
        shares = [*self.rungs, 1.0]
        weights = _equal_budgets(self.rungs)[: self.brackets]
        ends = sum(weight * shares[first] for first, weight in enumerate(weights))
        looks = sum(
            weight * shares[first] / rung
            for first, weight in enumerate(weights) for rung in self.rungs[first:]
        )  # fmt: skip
        return Load(float(len(weights) / ends), float(weights.sum() / ends), float(looks / ends))

    def points(self, values: ArrayLike, directions: Sequence[StudyDirection]) -> NDArray[np.float64]:
        """Values (n, m) of a study as points that are all better when smaller, on the scales of comparison.

        Raises ValueError where there is not one scale for each objective.
        """
        if self.scales is not None and len(self.scales) != len(directions):
            raise ValueError(f"scales: expected {len(directions)}, one for each objective, got {list(self.scales)}")
        array = np.array(values, dtype=np.float64).reshape(-1, len(directions))
        for column, scale in enumerate(self.scales or ()):
            if scale == "log":
                array[:, column] = np.log(np.maximum(array[:, column], SMALLEST))
        return array * [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]

    def step(self, trial: optuna.Trial, rung: float, values: Sequence[float]) -> None:
        """Record what `trial` has reached at `rung`: `values` in the order of the study's objectives.

        Raises optuna.TrialPruned unless it is among the share of trials that goes on, out of those of its bracket that
        have been here so far; the best of them always does. Trials that break a constraint (`trial.set_constraint`)
        count behind all others. Raises ValueError for another rung and for values that are not finite.
        """
        share, study = self.share_kept(rung), trial.study
        if not isinstance(values, Sequence | np.ndarray) or len(values) != len(study.directions) or not _finite(values):
            wanted = f"{len(study.directions)} finite values, one for each objective"
            raise ValueError(f"values at rung {rung:g}: expected {wanted}, got {values!r}")
        trial.set_user_attr(RUNGS, with_rung(trial, rung, values))
        bracket = self.bracket_of(trial.number)
        if rung not in self.rungs_of(trial.number):
            return
        peers = [
            peer for peer in study.get_trials(deepcopy=False)
            if rung in rung_values(peer) and self.bracket_of(peer.number) == bracket
        ]  # fmt: skip
        points = self.points([rung_values(peer)[rung] for peer in peers], study.directions)
        violations = [sum(max(0.0, excess) for excess in peer.constraints.values()) for peer in peers]
        kept = best(points, max(1, places(len(peers), share)), violations)
        if trial.number not in {peers[index].number for index in kept}:
            raise optuna.TrialPruned(f"rung {rung:g}: not among the best {len(kept)} of {len(peers)} trials")


def _finite(values: Sequence[float]) -> bool:
    return all(isinstance(value, Real) and math.isfinite(value) for value in values)


def _equal_budgets(rungs: Sequence[float]) -> NDArray[np.float64]:
    """Per bracket the share of trials, in proportion, that gives every bracket the same budget.

    A trial that begins at rung r costs r, and with probability r / r_j (r_j+1 - r_j) more for every rung r_j from there
    on; the last bracket has no rung and costs 1.
    """
    shares = np.array([*rungs, 1.0])
    legs = 1 - shares[:-1] / shares[1:]
    costs = [shares[first] * (1 + legs[first:].sum()) for first in range(len(shares))]
    return 1 / np.array(costs)
