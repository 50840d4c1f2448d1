"""What the search benchmarks ask of a problem, and how good a set of tried networks is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.pareto import hypervolume

Params = Mapping[str, Any]
Points = NDArray[np.float64]
Scale = Literal["linear", "log"]


class CategoricalTrial(Protocol):
    """What a problem draws from; optuna.Trial satisfies it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Problem(Protocol):
    """A space, and what each of its networks is worth. All objectives are minimised; the first is learned."""

    name: str
    scales: Sequence[Scale]

    @property
    def reference_point(self) -> Sequence[float]:
        """In units of the objectives."""

    def space(self, trial: CategoricalTrial) -> Hashable:
        """Draws a network and says which it is."""

    def values(self, params: Params, random: np.random.Generator) -> tuple[float, ...]:
        """One evaluation: the objectives, the learned one with its noise."""

    def exact(self, params: Params) -> tuple[float, ...]:
        """The objectives after the first."""

    def features(self, params: Params, *, with_latency: bool) -> Sequence[float]:
        """What a model of accuracy sees, beside exact costs; `with_latency` where latency is known beforehand."""

    def work(self, params: Params) -> Sequence[float]:
        """How much there is of each kind of work that takes time: latency is nearly a weighted sum of these."""

    def is_wasteful(self, params: Params, *, with_latency: bool) -> bool:
        """Whether another spelling of the same network costs less of what is known: nobody would ship this one."""

    def shares(self, tried: Sequence[Params]) -> dict[str, float]:
        """Hypervolumes that the tried networks reach, noise averaged out in `clean`."""


def volume(points: Points) -> float:
    """Share of the unit box that points dominate: 0 is the ideal, 1 the reference point."""
    return hypervolume(np.maximum(points, 0), np.ones(points.shape[1]))
