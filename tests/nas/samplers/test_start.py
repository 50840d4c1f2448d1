"""How a search starts, and how a pool grows towards what is worth most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from conditional_genes import draw, slacks, values
from numpy.typing import NDArray
from optuna.study import StudyDirection

from nas.samplers.models.basis import Basis
from nas.samplers.spaces.decoding import Decoded, Decoder
from nas.samplers.spaces.evolution import evolved
from nas.samplers.spaces.pools import random_rows
from nas.samplers.spaces.problem import Objectives, Problem
from nas.samplers.start import cheapest, farthest

OBJECTIVES = Objectives.of([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], ["linear", "log"])


def record(trial: Any) -> Any:
    return tuple(draw(trial).items())


def costs(params: Mapping[str, Any]) -> list[float | None]:
    return [None, values(dict(params))[1]]


def decoder(**known: Any) -> Decoder:
    return Decoder(Problem(record, **{"costs": costs, **known}), OBJECTIVES, 0)


def test_the_cheapest() -> None:
    found = cheapest(decoder(), OBJECTIVES, size=600, seed=0)
    assert found is not None
    assert found.costs[1][0] == 72
    assert cheapest(decoder(costs=None), OBJECTIVES, size=60, seed=0) is None


def test_the_farthest() -> None:
    made = decoder()
    basis = Basis.of(made.sample, made.genes, OBJECTIVES)
    taken = made.decode(random_rows(made.genes, 4, 9))
    found = farthest(made, basis, taken, {candidate.key for candidate in taken}, 1)
    assert found is not None

    def distance(candidate: Decoded) -> float:
        return float(((basis.features([candidate]) - basis.features(taken)) ** 2).sum(axis=1).min())

    others = [distance(candidate) for candidate in made.decode(random_rows(made.genes, 100, 7))]
    assert distance(found) > np.quantile(others, 0.9)


def test_what_breaks_a_constraint_is_passed_over() -> None:
    made = decoder(constraints=lambda params: slacks(dict(params)))
    basis = Basis.of(made.sample, made.genes, OBJECTIVES)
    found = [farthest(made, basis, [], set(), seed) for seed in range(20)]
    assert all(candidate is not None and candidate.slacks["cost"][0] <= 0 for candidate in found)
    least = cheapest(made, OBJECTIVES, size=60, seed=0)
    assert least is not None
    assert least.slacks["cost"][0] <= 0


def test_more_are_drawn_where_nearly_all_break_a_constraint() -> None:
    def rare(params: Mapping[str, Any]) -> dict[str, float]:
        return {"rare": 0.0 if (params["depth"], params["width"], params["block1.kernel"]) == (3, 8, 3) else 1.0}

    made = decoder(constraints=rare)
    basis = Basis.of(made.sample, made.genes, OBJECTIVES)
    found = [farthest(made, basis, [], set(), seed) for seed in range(20)]
    assert all(candidate is not None and candidate.slacks["rare"][0] == 0 for candidate in found)


def test_where_everything_breaks_one_the_least_does() -> None:
    made = decoder(constraints=lambda params: {"cost": values(dict(params))[1]})
    found = farthest(made, Basis.of(made.sample, made.genes, OBJECTIVES), [], set(), 0)
    assert found is not None
    assert found.slacks["cost"][0] < np.median([candidate.slacks["cost"][0] for candidate in made.sample])


def worth(candidates: Sequence[Decoded]) -> NDArray[np.float64]:
    return np.array([values(dict(candidate.params))[0] for candidate in candidates])


def test_a_pool_grows_towards_what_is_worth_most() -> None:
    made = decoder()
    pool = evolved(made, [], worth, seen=set(), size=400, seed=3)
    assert (np.diff(pool.worth) <= 0).all()
    assert len({candidate.key for candidate in pool.candidates}) == len(pool.candidates)
    random = worth(made.decode(random_rows(made.genes, 400, 3)))
    assert pool.worth[0] > random.max()


def test_a_pool_has_nothing_that_was_seen() -> None:
    made = decoder()
    first = evolved(made, [], worth, seen=set(), size=200, seed=3)
    seen = {candidate.key for candidate in first.candidates[:50]}
    second = evolved(made, first.candidates[:5], worth, seen=seen, size=200, seed=3)
    assert not seen & {candidate.key for candidate in second.candidates}
