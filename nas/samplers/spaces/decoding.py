"""Candidates as the sampler sees them: a row of units is drawn and identified, and what is known is computed once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nas.samplers.spaces.pools import random_rows
from nas.samplers.spaces.problem import Floats, Objectives, Problem, version_of, with_spread
from nas.samplers.spaces.recording import GivenTrial, Params, UnitTrial, UnknownGene, key_of
from nas.samplers.spaces.units import Genes, scan

KEPT = 10_000  # decoded rows that are kept from ask to ask
SAMPLED = 200  # random candidates that say what is usual


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """A candidate. Costs and constraint values are raw means with standard deviations, 0 where exact."""

    params: Params
    key: Hashable  # what it comes down to: two with one key are the same
    row: Floats
    active: list[bool]  # which genes it has
    costs: list[tuple[float, float]]  # of each objective, (NaN, 0) where learned
    slacks: dict[str, tuple[float, float]]
    described: Floats  # features as the user gives them
    priors: list[float]  # of each objective, NaN where there is none
    modelled: bool  # some of it is a model's word, which may change
    age: int = 0


class Decoder:
    """Decodes rows and recorded parameters, and keeps what it has decoded."""

    def __init__(self, problem: Problem, objectives: Objectives, seed: int) -> None:
        self._problem, self._objectives, self._seed = problem, objectives, seed
        self.genes: Genes = scan(problem.space, seed)
        self._rows: dict[bytes, Decoded] = {}
        self._given: dict[Hashable, Decoded | None] = {}
        self._age = 0
        self._versions: list[Any] = []

    def begin(self) -> None:
        """Once in each ask: forgets what models said before, if they say otherwise now, and rows that are too many."""
        problem = self._problem
        functions = [f for f in (problem.costs, problem.constraints, problem.priors) if f is not None]
        versions = [version_of(function) for function in functions]
        if None in versions or versions != self._versions:
            self._age += 1
        self._versions = versions
        if len(self._rows) > KEPT:
            self._rows.clear()

    @property
    def sample(self) -> list[Decoded]:
        """Random candidates that say what is usual in this space, as models see them now."""
        return self.decode(self._sampled)

    @cached_property
    def _sampled(self) -> Floats:
        return random_rows(self.genes, SAMPLED, self._seed)

    def decode(self, rows: Floats) -> list[Decoded]:
        """A candidate for each row."""
        names = [row.tobytes() for row in rows]
        new = {name: self._drawn(row) for name, row in zip(names, rows, strict=True) if name not in self._rows}
        old = {name: self._rows[name] for name in names if name not in new and self._is_old(self._rows[name])}
        self._prepare([params for params, _, _ in new.values()] + [decoded.params for decoded in old.values()])
        self._rows.update({name: self._describe(*drawn) for name, drawn in new.items()})
        self._rows.update({name: self._again(decoded) for name, decoded in old.items()})
        return [self._rows[name] for name in names]

    def _prepare(self, many: Sequence[Params]) -> None:
        """Have a model of costs, if it likes to, predict many candidates at once."""
        prepare = getattr(self._problem.costs, "prepare", None)
        if prepare is not None and many:
            prepare(many)

    def given(self, params: Params) -> Decoded | None:
        """The candidate of a recorded trial; None where its parameters are not, or no longer, of this space."""
        key = key_of(params)
        if key not in self._given:
            self._given[key] = self._from_params(params)
        decoded = self._given[key]
        if decoded is not None:
            decoded = self._given[key] = self.renewed(decoded)
        return decoded

    def renewed(self, decoded: Decoded) -> Decoded:
        """The candidate as models see it now."""
        return self._again(decoded) if self._is_old(decoded) else decoded

    def _from_params(self, params: Params) -> Decoded | None:
        trial = GivenTrial(params)
        try:
            record = self._problem.space(trial)
        except UnknownGene:
            return None
        middle = np.full(self.genes.width, 0.5)
        return self._describe(trial.params, record, self.genes.row_of(trial.params, middle))

    def _drawn(self, row: Floats) -> tuple[dict[str, Any], Any, Floats]:
        trial = UnitTrial(self.genes.units(row), salt=float(row[-1]))
        return trial.params, self._problem.space(trial), row

    def _describe(self, params: dict[str, Any], record: Any, row: Floats) -> Decoded:
        costs, slacks = self._known(params)
        active = list(map(params.__contains__, self.genes.names))
        features = () if self._problem.features is None else self._problem.features(params)
        described = np.asarray(features, dtype=np.float64)
        modelled = self._problem.priors is not None or any(sd > 0 for _, sd in (*costs, *slacks.values()))
        priors = self._prior(params)
        return Decoded(
            params, _key(record, params, costs), row, active, costs, slacks, described, priors, modelled, self._age
        )

    def _known(self, params: Params) -> tuple[list[tuple[float, float]], dict[str, tuple[float, float]]]:
        """Costs and constraint values."""
        problem, nothing = self._problem, (None,) * len(self._objectives)
        costs = self._objectives.entries(nothing if problem.costs is None else problem.costs(params))
        return costs, {} if problem.constraints is None else with_spread(problem.constraints(params))

    def _prior(self, params: Params) -> list[float]:
        if self._problem.priors is None:
            return [math.nan] * len(self._objectives)
        values = self._problem.priors(params)
        if len(values) != len(self._objectives):
            raise ValueError(f"priors: expected {len(self._objectives)} entries, one an objective, got {values!r}")
        return [math.nan if value is None else float(value) for value in values]

    def _is_old(self, decoded: Decoded) -> bool:
        return decoded.modelled and decoded.age != self._age

    def _again(self, decoded: Decoded) -> Decoded:
        """What models say of it now."""
        costs, slacks = self._known(decoded.params)
        return replace(decoded, costs=costs, slacks=slacks, priors=self._prior(decoded.params), age=self._age)


def _key(record: Any, params: Params, costs: Sequence[tuple[float, float]]) -> Hashable:
    """The decoded record and the exact costs, or all parameters where the space returns no record."""
    if record is None:  # a space asks in the same order where it is answered the same
        key_of(params)
        return tuple(params), tuple(params.values())
    try:
        hash(record)
    except TypeError:
        raise TypeError(f"space: expected a hashable record of what was drawn, or None, got {record!r}") from None
    return record, tuple(cost for cost, sd in costs if sd == 0 and not math.isnan(cost))


def distinct(candidates: Iterable[Decoded], seen: set[Hashable]) -> list[Decoded]:
    """The first candidate of each key that is not among those seen."""
    found: dict[Hashable, Decoded] = {}
    for candidate in candidates:
        if candidate.key not in seen:
            found.setdefault(candidate.key, candidate)
    return list(found.values())


def costs_of(candidates: Sequence[Decoded]) -> tuple[Floats, Floats]:
    """Raw costs and their standard deviations, each (n, m); NaN where learned."""
    pairs: Floats = np.array([candidate.costs for candidate in candidates], dtype=np.float64)
    return pairs[:, :, 0], pairs[:, :, 1]
