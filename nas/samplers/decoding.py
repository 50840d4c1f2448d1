"""Candidates as the sampler sees them: a row of units is drawn and identified, and what is known is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.samplers.gene_features import gene_features
from nas.samplers.pools import random_rows
from nas.samplers.problem import Floats, Objectives, Problem, unit_slacks, version_of
from nas.samplers.recording import GivenTrial, Params, Question, UnitTrial, UnknownGene, key_of
from nas.samplers.units import SCANNED, Genes, scan

KEPT = 20_000  # decoded rows that are kept from ask to ask
SAMPLE_STREAM = 1


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """A candidate. Costs and constraint values are raw means with standard deviations, 0 where exact."""

    params: Params
    key: Hashable  # what it comes down to: two with one key are the same
    row: Floats
    active: NDArray[np.bool_]  # which genes it has, (genes,)
    means: Floats  # (m,), NaN where learned
    sds: Floats
    slacks: dict[str, tuple[float, float]]
    described: Floats  # features as the user gives them, or as the genes do
    priors: Floats  # (m,), NaN where there is none
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

    @cached_property
    def sample(self) -> list[Decoded]:
        """Random candidates that say what is usual in this space."""
        return [self._decode(row) for row in random_rows(self.genes, SCANNED, self._seed)]

    def decode(self, rows: Floats) -> list[Decoded]:
        """A candidate for each row."""
        found = []
        for row in rows:
            name = row.tobytes()
            decoded = self._rows.get(name)
            if decoded is None or self._is_old(decoded):
                decoded = self._decode(row) if decoded is None else self._again(decoded)
                self._rows[name] = decoded
            found.append(decoded)
        return found

    def given(self, params: Params) -> Decoded | None:
        """The candidate of a recorded trial; None where its parameters are not, or no longer, of this space."""
        key = key_of(params)
        if key not in self._given:
            self._given[key] = self._from_params(params)
        decoded = self._given[key]
        if decoded is not None and self._is_old(decoded):
            decoded = self._given[key] = self._again(decoded)
        return decoded

    def _from_params(self, params: Params) -> Decoded | None:
        trial = GivenTrial(params)
        try:
            record = self._problem.space(trial)
        except UnknownGene:
            return None
        middle = np.full(self.genes.width, 0.5)
        return self._describe(trial.params, trial.questions, record, self.genes.row_of(trial.params, middle))

    def _decode(self, row: Floats) -> Decoded:
        trial = UnitTrial(self.genes.units(row), salt=float(row[-1]))
        record = self._problem.space(trial)
        return self._describe(trial.params, trial.questions, record, row)

    def _describe(self, params: dict[str, Any], questions: dict[str, Question], record: Any, row: Floats) -> Decoded:
        problem, objectives = self._problem, self._objectives
        means, sds = objectives.entries(
            problem.costs(params) if problem.costs is not None else (None,) * len(objectives)
        )
        slacks = unit_slacks(problem.constraints(params)) if problem.constraints is not None else {}
        active = np.array([name in params for name in self.genes.names], dtype=np.bool_)
        described = (
            gene_features(self.genes, row, active)
            if problem.features is None
            else np.asarray(problem.features(params), dtype=np.float64)
        )
        return Decoded(
            params, _key(record, params, means, sds), row, active, means, sds, slacks, described,
            self._priors(params), problem.priors is not None or _is_modelled(sds, slacks), self._age,
        )  # fmt: skip

    def _priors(self, params: Params) -> Floats:
        if self._problem.priors is None:
            return np.full(len(self._objectives), np.nan)
        values = self._problem.priors(params)
        if len(values) != len(self._objectives):
            raise ValueError(
                f"priors: expected {len(self._objectives)} entries, one for each objective, got {values!r}"
            )
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def _is_old(self, decoded: Decoded) -> bool:
        return decoded.modelled and decoded.age != self._age

    def _again(self, decoded: Decoded) -> Decoded:
        """What models say of it now."""
        problem, means, sds, slacks = self._problem, decoded.means, decoded.sds, decoded.slacks
        if problem.costs is not None:
            means, sds = self._objectives.entries(problem.costs(decoded.params))
        if problem.constraints is not None:
            slacks = unit_slacks(problem.constraints(decoded.params))
        priors = self._priors(decoded.params)
        return replace(decoded, means=means, sds=sds, slacks=slacks, priors=priors, age=self._age)


def _key(record: Any, params: Params, means: Floats, sds: Floats) -> Hashable:
    """The decoded record, or all parameters where the space returns none, and the exact costs."""
    exact = tuple(means[(sds == 0) & ~np.isnan(means)].tolist())
    if record is None:
        return key_of(params)
    try:
        hash(record)
    except TypeError:
        raise TypeError(f"space: expected a hashable record of what was drawn, or None, got {record!r}") from None
    return record, exact


def _is_modelled(sds: Floats, slacks: dict[str, tuple[float, float]]) -> bool:
    return bool((sds > 0).any()) or any(sd > 0 for _, sd in slacks.values())


def distinct(candidates: Iterable[Decoded], seen: set[Hashable]) -> list[Decoded]:
    """The first candidate of each key that is not among those seen."""
    found: dict[Hashable, Decoded] = {}
    for candidate in candidates:
        if candidate.key not in seen:
            found.setdefault(candidate.key, candidate)
    return list(found.values())


def stacked(candidates: Sequence[Decoded], name: str) -> Floats:
    """One array of all candidates', along the first axis."""
    array: Floats = np.array([getattr(candidate, name) for candidate in candidates])
    return array
