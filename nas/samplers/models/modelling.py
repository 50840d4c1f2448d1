"""The processes of one ask: one for each learned objective, and one for each constraint that only trials know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.samplers.models.basis import Basis
from nas.samplers.models.history import Entrant, History
from nas.samplers.models.processes import GaussianProcess
from nas.samplers.models.scaling import OFFSET, Box
from nas.samplers.models.surrogate import Factors, Fit, Observations, believed, extended, fitted, nearest
from nas.samplers.models.targets import Transform, calibrated_prior, rung_lines
from nas.samplers.spaces.decoding import Decoded, costs_of
from nas.samplers.spaces.problem import Objectives

Floats = NDArray[np.float64]

LEAST_TOLD = 2  # observations that a process is made of
UNKNOWN = 0.5, 1.0  # mean, in units of the box, and standard deviation before that
Notes = Mapping[str, Any]  # the study's system attributes


@dataclass
class Rows:
    """Features of candidates, kept for as many of the first as are the same the next time."""

    _candidates: list[Decoded] = field(default_factory=list)
    _features: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def of(self, candidates: list[Decoded], basis: Basis) -> Floats:
        pairs = enumerate(zip(candidates, self._candidates, strict=False))
        shorter = min(len(candidates), len(self._candidates))
        same = next((place for place, (one, other) in pairs if one is not other), shorter)
        if same < len(candidates):
            more = basis.features(candidates[same:])
            self._features = np.concatenate([self._features[:same], more]) if same else more
        self._candidates = candidates
        return self._features[: len(candidates)]


@dataclass
class Memory:
    """What is kept from ask to ask to save time; asks are the same without it."""

    factors: dict[str, Factors] = field(default_factory=dict)
    finished: dict[int, Entrant] = field(default_factory=dict)
    told: Rows = field(default_factory=Rows)

    def of(self, name: str) -> Factors:
        return self.factors.setdefault(name, Factors())


@dataclass(frozen=True)
class Models:
    """All that is believed of candidates. Columns of predictions are the learned objectives."""

    objectives: Objectives
    basis: Basis
    box: Box
    learned: list[int]
    known: list[int]  # objectives that are exact or modelled
    transforms: list[Transform]
    processes: list[GaussianProcess | None]
    priors: list[Callable[[Floats], Floats]]  # raw prior values -> prior means of the process
    limits: list[GaussianProcess]  # of the constraints that are learned

    @property
    def columns(self) -> list[int]:
        """Objectives in the order of the improvement: learned ones first."""
        return [*self.learned, *self.known]

    @property
    def offsets(self) -> list[float | None]:
        return [transform.offset for transform in self.transforms]

    def features(self, candidates: Sequence[Decoded]) -> Floats:
        return self.basis.features(candidates)

    def scaled_costs(self, candidates: Sequence[Decoded]) -> Floats:
        """In units of the box, (n, m); NaN where learned."""
        return self.box.scaled(self.objectives.minimised(costs_of(candidates)[0]))

    def predict(self, candidates: Sequence[Decoded], features: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations as targets, each (n, learned objectives)."""
        priors = np.array([candidate.priors for candidate in candidates])
        means, sds = np.empty((2, len(candidates), len(self.learned)))
        for column, (i, process) in enumerate(zip(self.learned, self.processes, strict=True)):
            if process is None:
                means[:, column] = self.transforms[column](np.array([UNKNOWN[0]]))[0]
                sds[:, column] = UNKNOWN[1]
            else:
                means[:, column], sds[:, column] = process.predict(
                    features, prior_mean=self.priors[column](priors[:, i])
                )
        return means, sds

    def feasibility(self, candidates: Sequence[Decoded], features: Floats) -> Floats:
        """Probability that the learned constraints are met, (n,)."""
        chance = np.ones(len(candidates))
        for process in self.limits:
            mean, sd = process.predict(features)
            chance *= ndtr(-mean / sd)
        return chance


class Modelling:
    """Makes the models of an ask from a study's trials and what earlier asks wrote down."""

    def __init__(
        self, history: History, objectives: Objectives, basis: Basis, box: Box, notes: Notes, memory: Memory
    ) -> None:
        self._history, self._objectives, self._basis, self._box, self._notes = history, objectives, basis, box, notes
        self._memory = memory
        self.written: dict[str, dict[str, Any]] = {}  # fits that are new

    def models(self, learned: Sequence[int], *, notable: frozenset[int]) -> Models:
        transforms = [Transform(OFFSET if self._box.natural[i] else None) for i in learned]
        processes, priors = [], []
        for i, transform in zip(learned, transforms, strict=True):
            prior = self._prior(i, transform)
            priors.append(prior)
            processes.append(self._objective(i, transform, prior, self._memory.of(f"objective {i}"), notable))
        limits = [
            process
            for name in learned_constraints(self._history)
            if (process := self._constraint(name, self._memory.of(f"constraint {name}"))) is not None
        ]
        known = [i for i in range(len(self._objectives)) if i not in learned]
        return Models(
            self._objectives, self._basis, self._box, list(learned), known, transforms, processes, priors, limits
        )

    def _as_targets(self, values: Floats, i: int, transform: Transform) -> Floats:
        """Raw values (n,) of an objective as targets."""
        full = np.ones((len(values), len(self._objectives)))
        full[:, i] = values
        return transform(self._box.scaled(self._objectives.minimised(full))[:, i])

    def _prior(self, i: int, transform: Transform) -> Callable[[Floats], Floats]:
        told = self._history.told
        own = self._as_targets(_priors(told, i), i, transform)
        targets = self._as_targets(self._history.values[:, i], i, transform) if told else np.zeros(0)

        def prior(raw: Floats) -> Floats:
            return calibrated_prior(self._as_targets(raw, i, transform), own, targets)

        return prior

    def _objective(
        self, i: int, transform: Transform, prior: Callable[[Floats], Floats], factors: Factors,
        notable: frozenset[int],
    ) -> GaussianProcess | None:  # fmt: skip
        history = self._history
        if len(history.told) < LEAST_TOLD:
            return None
        targets = self._as_targets(history.values[:, i], i, transform)
        features = self._memory.told.of([entrant.candidate for entrant in history.told], self._basis)
        observed = _observed(history.told, features, targets, prior(_priors(history.told, i)))
        fit = self._fit(f"pareto:objective:{i}", observed, notable)
        ends = observed.features[np.isin(observed.numbers, sorted(notable))]
        process = factors.process(fit.hyperparameters, nearest(observed, fit.hyperparameters, ends))
        rough, left = self._rough(i, transform, prior)
        process = extended(process, rough) if rough is not None else process
        if left:
            waiting = _observed(left, self._features(left), np.zeros(len(left)), prior(_priors(left, i)))
            process = extended(process, believed(waiting, process))
        return process

    def _rough(
        self, i: int, transform: Transform, prior: Callable[[Floats], Floats]
    ) -> tuple[Observations | None, list[Entrant]]:
        """Scores of trials before their end, as far as rungs are believed; and the running ones without any."""
        history = self._history
        pairs = [
            (share, values[i], end)
            for entrant, end in zip(history.told, history.values[:, i], strict=True)
            for share, values in entrant.rungs.items()
        ]
        shares, scores, ends = np.array(pairs, dtype=np.float64).reshape(-1, 3).T
        scores, ends = self._as_targets(scores, i, transform), self._as_targets(ends, i, transform)
        lines = rung_lines(list(zip(shares.tolist(), scores.tolist(), ends.tolist(), strict=True)))
        entrants, targets, noise = [], [], []
        for entrant in sorted([*history.running, *history.stopped], key=lambda entrant: entrant.number):
            rungs = {share: values for share, values in entrant.rungs.items() if share in lines}
            if rungs:
                last = max(rungs)
                entrants.append(entrant)
                score = self._as_targets(np.array([rungs[last][i]]), i, transform)
                targets.append(float(lines[last](score)[0]))
                noise.append(lines[last].variance)
        heard = {entrant.number for entrant in entrants}
        left = [entrant for entrant in history.running if entrant.number not in heard]
        if not entrants:
            return None, left
        rough = _observed(
            entrants, self._features(entrants), np.array(targets), prior(_priors(entrants, i)), np.array(noise)
        )
        return rough, left

    def _constraint(self, name: str, factors: Factors) -> GaussianProcess | None:
        """A process of the constraint's values; None where no trial has broken it, or too few know it."""
        history = self._history
        entrants = sorted([*history.told, *history.infeasible], key=lambda entrant: entrant.number)
        entrants = [entrant for entrant in entrants if name in entrant.constraints]
        values = bounded(np.array([entrant.constraints[name] for entrant in entrants]))
        if len(values) < LEAST_TOLD or not (values > 0).any():
            return None
        observed = _observed(entrants, self._features(entrants), values, np.zeros(len(values)))
        fit = self._fit(f"pareto:constraint:{name}", observed, frozenset())
        return factors.process(fit.hyperparameters, nearest(observed, fit.hyperparameters, observed.features[-1:]))

    def _fit(self, key: str, observed: Observations, notable: frozenset[int]) -> Fit:
        last = Fit.from_json(self._notes[key]) if key in self._notes else None
        if last is not None and not last.is_due(len(observed), observed.features.shape[1]):
            return last
        fit = fitted(observed, last, groups=self._basis.groups, notable=notable)
        self.written[key] = fit.to_json()
        return fit

    def _features(self, entrants: Sequence[Entrant]) -> Floats:
        return self._basis.features([entrant.candidate for entrant in entrants])


def _observed(
    entrants: Sequence[Entrant], features: Floats, targets: Floats, prior: Floats, noise: Floats | None = None
) -> Observations:
    numbers = np.array([entrant.number for entrant in entrants], dtype=np.int64)
    return Observations(numbers, features, targets, np.zeros(len(entrants)) if noise is None else noise, prior)


def bounded(values: Floats) -> Floats:
    """Values with infinity, which Optuna takes for a constraint, as the largest finite number among them, or 1."""
    most = np.abs(values[np.isfinite(values)]).max(initial=0.0) or 1.0
    return np.clip(values, -most, most)


def learned_constraints(history: History) -> list[str]:
    """Constraints that trials were told and that nothing computes."""
    entrants = [*history.told, *history.infeasible]
    computed = {name for entrant in entrants for name in entrant.candidate.slacks}
    return sorted({name for entrant in entrants for name in entrant.constraints} - computed)


def _priors(entrants: Sequence[Entrant], i: int) -> Floats:
    return np.array([entrant.candidate.priors[i] for entrant in entrants], dtype=np.float64)
