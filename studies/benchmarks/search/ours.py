"""Our sampler on a problem, as a user of the library would set it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from latency_by_trials import LatencyByTrials
from problems import Params, Problem
from run_log import Hear, unheard

from nas.samplers.pareto import ParetoSampler
from nas.samplers.spaces.problem import Entry

WASTEFUL = "another spelling costs less"


class Costs:
    """The first objective is learned, the others are computed; the last, a latency, by a model where there is one."""

    def __init__(self, problem: Problem, latency: LatencyByTrials | None) -> None:
        self._problem, self._latency = problem, latency

    @property
    def version(self) -> int:
        """Changes when predictions do."""
        return 0 if self._latency is None else self._latency.version

    def __call__(self, params: Params) -> tuple[Entry, ...]:
        known = self._problem.exact(params)
        return (None, *known) if self._latency is None else (None, *known[:-1], self._latency.predict(params))


def exact(problem: Problem, seed: int, **settings: Any) -> ParetoSampler:
    """All objectives but the first are computed. `settings`: more of the sampler's."""
    return _sampler(problem, seed, Costs(problem, None), with_latency=True, **settings)


def learned(problem: Problem, seed: int) -> tuple[ParetoSampler, Hear]:
    """Latency is predicted by what trials so far have measured: nothing is known of the device beforehand."""
    latency = LatencyByTrials(problem.work)

    def hear(params: Params, values: tuple[float, ...]) -> None:
        latency.tell(params, values[-1])

    return _sampler(problem, seed, Costs(problem, latency), with_latency=False), hear


def _sampler(problem: Problem, seed: int, costs: Costs, *, with_latency: bool, **settings: Any) -> ParetoSampler:
    def features(params: Params) -> list[float]:
        return list(problem.features(params, with_latency=with_latency))

    def constraints(params: Params) -> Mapping[str, float]:
        return {WASTEFUL: 1.0 if problem.is_wasteful(params, with_latency=with_latency) else -1.0}

    return ParetoSampler(
        problem.space, costs, features, seed=seed, scales=problem.scales, constraints=constraints,
        reference_point=problem.reference_point, **settings,
    )  # fmt: skip


def _exact(problem: Problem, seed: int) -> tuple[ParetoSampler, Hear]:
    return exact(problem, seed), unheard


OURS: Mapping[str, Callable[[Problem, int], tuple[ParetoSampler, Hear]]] = {
    "ours-exact": _exact,
    "ours-learned": learned,
}
