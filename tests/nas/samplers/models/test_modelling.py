"""What is kept of the models from ask to ask changes nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.models.modelling import Rows, bounded
from nas.samplers.spaces.decoding import Decoded


class Basis:
    """Features of a candidate: its key, twice."""

    def __init__(self) -> None:
        self.asked = 0

    def features(self, candidates: list[Decoded]) -> np.ndarray:
        self.asked += len(candidates)
        return np.array([[candidate.key, candidate.key] for candidate in candidates], dtype=float).reshape(-1, 2)


def candidate_of(key: int) -> Decoded:
    return Decoded({}, key, np.zeros(1), [], [], {}, np.zeros(0), [], modelled=False)


CANDIDATES = [candidate_of(key) for key in range(4)]


@given(st.lists(st.lists(st.sampled_from(CANDIDATES), min_size=1), max_size=5))
def test_kept_features_are_those_of_the_candidates(asks: list[list[Decoded]]) -> None:
    rows, basis = Rows(), Basis()
    for candidates in asks:
        assert rows.of(candidates, basis).tolist() == basis.features(candidates).tolist()


def test_only_new_candidates_are_described() -> None:
    rows, basis = Rows(), Basis()
    for count in (2, 3, 3, 4):
        rows.of(CANDIDATES[:count], basis)
    assert basis.asked == 4
    rows.of([CANDIDATES[0], CANDIDATES[2], CANDIDATES[3]], basis)
    assert basis.asked == 6


def test_infinite_constraints_are_as_large_as_any() -> None:
    assert bounded(np.array([np.inf, -3.0, 2.0, -np.inf])).tolist() == [3.0, -3.0, 2.0, -3.0]
    assert bounded(np.array([np.inf, 0.0])).tolist() == [1.0, 0.0]
    assert bounded(np.array([])).tolist() == []
