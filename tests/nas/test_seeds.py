"""Means over seeds and their errors, against closed forms and simulated trainings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.seeds import over_seeds, pooled_variance

groups = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=6)


def test_one_seed_each_leaves_accuracy_and_error_as_they_are() -> None:
    means, errors = over_seeds([[0.5], [0.75]], [0.02, 0.01])
    assert means.tolist() == [0.5, 0.75]
    assert errors.tolist() == pytest.approx([0.02, 0.01])


def test_two_seeds_by_hand() -> None:
    # The variance of 0.5 and 0.7 is 0.02, and counts for the candidate of one seed as well.
    means, errors = over_seeds([[0.5, 0.7], [0.9]], [0.0, 0.3])
    assert means.tolist() == pytest.approx([0.6, 0.9])
    assert errors.tolist() == pytest.approx([np.sqrt(0.01), np.sqrt(0.09 + 0.02)])


@given(groups)
def test_pooled_variance_is_that_of_one_group_and_does_not_know_the_means(found: list[list[float]]) -> None:
    shifted = [[value + 3 * i for value in group] for i, group in enumerate(found)]
    assert pooled_variance(shifted) == pytest.approx(pooled_variance(found), abs=1e-9)
    several = [group for group in found if len(group) > 1]
    if len(several) == 1:
        assert pooled_variance(found) == pytest.approx(np.var(several[0], ddof=1))
    if not several:
        assert pooled_variance(found) == 0


def test_pooled_variance_is_unbiased() -> None:
    random = np.random.default_rng(0)
    found = [
        pooled_variance([list(random.normal(0.3 * i, 0.1, 1 + i % 3)) for i in range(6)])
        for _ in range(2000)
    ]  # fmt: skip
    assert np.mean(found) == pytest.approx(0.01, rel=0.05)


@given(groups)
def test_more_seeds_never_make_a_mean_less_sure(found: list[list[float]]) -> None:
    _, errors = over_seeds(found, [0.01] * len(found))
    counts = [len(group) for group in found]
    ordered = errors[np.argsort(counts, kind="stable")]
    assert np.all(np.diff(ordered) <= 1e-12)
    assert np.all(errors >= 0.01)
