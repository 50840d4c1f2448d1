"""Our sampler on a problem, as a user of the library would set it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from problems import Params, Problem

from nas.samplers.pareto import ParetoSampler

WASTEFUL = "another spelling costs less"


def exact(problem: Problem, seed: int) -> ParetoSampler:
    """All objectives but the first are computed."""
    return _sampler(problem, seed, with_latency=True)


def learned(problem: Problem, seed: int) -> ParetoSampler:
    """The last objective, latency, is learned too: nothing is known of the device beforehand."""
    return _sampler(problem, seed, with_latency=False)


def _sampler(problem: Problem, seed: int, *, with_latency: bool) -> ParetoSampler:
    def costs(params: Params) -> tuple[float | None, ...]:
        known = problem.exact(params)
        return (None, *known) if with_latency else (None, *known[:-1], None)

    def features(params: Params) -> list[float]:
        return list(problem.features(params, with_latency=with_latency))

    def constraints(params: Params) -> Mapping[str, float]:
        return {WASTEFUL: 1.0 if problem.is_wasteful(params, with_latency=with_latency) else -1.0}

    return ParetoSampler(
        problem.space, costs, features, seed=seed, scales=problem.scales, constraints=constraints,
        reference_point=problem.reference_point,
    )  # fmt: skip


OURS: Mapping[str, Callable[[Problem, int], ParetoSampler]] = {"ours-exact": exact, "ours-learned": learned}
