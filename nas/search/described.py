"""A candidate as the Pareto sampler's adapter keeps it: what makes it the same as another, and what was worked out."""

from __future__ import annotations

from dataclasses import dataclass, field

from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import Numbers
from nas.measuring.latency_terms import Work
from nas.runtimes.runtime import FileForecast

Version = tuple[tuple[int, ...] | None, ...]  # of the models of several latencies: the trials that each rests on


class Identity:
    """What is trained, as a key that is hashed once: an architecture, its plan and the searched numbers."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, candidate: Candidate, numbers: Numbers) -> None:
        plan = candidate.plan
        decisions = tuple(plan.kept.items()), tuple(plan.formats.items()), repr(plan.steps) if plan.steps else ""
        self._parts = candidate.architecture, decisions, tuple(sorted(numbers.items()))
        self._hash = hash(self._parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._hash == other._hash and self._parts == other._parts


@dataclass(eq=False)
class Described:
    """A candidate, the numbers it is trained by, and what has been worked out of it.

    latencies: mean and standard deviation in milliseconds of each by name, by the models of `version`.
    """

    candidate: Candidate
    numbers: Numbers
    latencies: dict[str, tuple[float, float]] = field(default_factory=dict)
    version: Version | None = None
    work: Work | None = None
    files: dict[str, FileForecast | None] = field(default_factory=dict)  # by target
