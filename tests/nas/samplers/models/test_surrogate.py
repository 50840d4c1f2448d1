"""When a process is fitted again, what it rests on, and that what is kept changes no bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nas.samplers.models.surrogate as surrogate
from nas.samplers.models.surrogate import (
    ALWAYS,
    SUBSET,
    Factors,
    Fit,
    Observations,
    believed,
    extended,
    fitted,
    nearest,
)


def observed(count: int, *, seed: int = 0) -> Observations:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 3))
    targets = np.sin(features[:, 0]) + 0.1 * random.normal(size=count)
    return Observations(np.arange(count), features, targets, np.zeros(count), np.zeros(count))


GROUPS = np.arange(3)


def fit(observations: Observations, last: Fit | None = None, notable: frozenset[int] = frozenset()) -> Fit:
    return fitted(observations, last, groups=GROUPS, notable=notable)


def test_a_fit_is_due_with_every_trial_and_later_with_a_tenth_more() -> None:
    few, many = fit(observed(10)), fit(observed(50))
    assert [few.is_due(count, 3) for count in (10, 11)] == [False, True]
    assert [many.is_due(count, 3) for count in (51, 54, 56)] == [False, False, True]
    assert few.is_due(10, 4)  # of other features
    assert ALWAYS == 30


def test_fits_are_written_and_read_to_the_last_digit() -> None:
    found = fit(observed(20))
    assert Fit.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_of_many_observations_a_part_with_the_notable_ones() -> None:
    found = fit(observed(600), notable=frozenset({3, 17, 598}))
    assert len(set(found.numbers)) == SUBSET
    assert {3, 17, 598} <= set(found.numbers)
    assert found.count == 600


@pytest.mark.parametrize("count", [20, 130, 300])
def test_what_is_kept_changes_no_bit(count: int) -> None:
    """Observations that come one by one, and late ones with an early number, leave what a new object computes."""
    everything, points = observed(count), observed(30, seed=1).features
    hyperparameters = fit(observed(20)).hyperparameters
    kept = Factors()
    late = np.delete(np.arange(count), count // 2)
    for part in (everything.at(late[:-3]), everything.at(late), everything):
        mean, sd = kept.process(hyperparameters, part).predict(points)
        fresh_mean, fresh_sd = Factors().process(hyperparameters, part).predict(points)
        assert (mean == fresh_mean).all()
        assert (sd == fresh_sd).all()


def test_believing_changes_the_spread_and_not_the_mean() -> None:
    process = Factors().process(fit(observed(40)).hyperparameters, observed(40))
    running = observed(5, seed=2)
    after = extended(process, believed(running, process))
    before = process.predict(running.features)
    assert after.predict(running.features)[0] == pytest.approx(before[0], abs=1e-6)
    assert (after.predict(running.features)[1] < before[1]).all()


def test_of_very_many_observations_the_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "CONDITIONED", 50)
    everything = observed(400)
    hyperparameters = fit(observed(20)).hyperparameters
    chosen = nearest(everything, hyperparameters, everything.features[:1])
    assert len(chosen) == 50
    assert 0 in chosen.numbers
    assert list(chosen.numbers) == sorted(chosen.numbers)
    assert len(nearest(everything.at(np.arange(40)), hyperparameters, everything.features[:1])) == 40
