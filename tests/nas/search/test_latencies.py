"""What is known of latency during a search: when it is fitted again, and what it rests on."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from by_hand import different, measured

from nas.candidates.candidate import Candidate
from nas.measuring.latency_terms import work_of
from nas.search.latencies import Latencies, due

MEASURED = [(number, candidate, measured(candidate).latency["cpu"].latency_ms) for number, candidate in
            enumerate(different(20))]  # fmt: skip


def predicted(latencies: Latencies, candidates: list[Candidate]) -> list[list[float]]:
    found: list[list[float]] = latencies.predict_all([work_of(candidate, 10) for candidate in candidates]).tolist()
    return found


def test_the_model_is_fitted_at_each_trial_first_and_then_less_and_less_often() -> None:
    counts = [due(count) for count in range(200)]
    assert counts[:9] == list(range(9))
    steps = sorted(set(counts))
    assert all(1 < later / earlier <= 1.25 for earlier, later in pairwise(steps[8:]))
    assert counts == sorted(counts)


def test_before_there_is_a_model_nothing_is_surely_too_slow() -> None:
    latencies = Latencies(10)
    (mean, sd), = predicted(latencies, different(1))  # fmt: skip
    assert mean > 0
    assert mean - 2.6 * sd < 0
    latencies.update(MEASURED[:3])
    assert predicted(latencies, different(1)) == [[mean, sd]]


def test_measured_trials_are_learned_from() -> None:
    latencies = Latencies(10)
    latencies.update(MEASURED[:16])
    means = np.array(predicted(latencies, [candidate for _, candidate, _ in MEASURED[16:]]))[:, 0]
    truth = np.array([latency for _, _, latency in MEASURED[16:]])
    assert np.abs(means / truth - 1).max() < 0.2


def test_the_order_in_which_trials_end_changes_nothing() -> None:
    one, other = Latencies(10), Latencies(10)
    one.update(MEASURED[:13])
    shuffled = MEASURED[:13]
    random.Random(0).shuffle(shuffled)
    for count in (5, 9, 13):
        other.update(shuffled[:count])
    assert one.version == other.version
    assert predicted(one, different(3)) == predicted(other, different(3))


def test_predictions_stay_while_the_version_does() -> None:
    latencies = Latencies(10)
    latencies.update(MEASURED[:10])
    version, before = latencies.version, predicted(latencies, different(3))
    latencies.update(MEASURED[:11])
    assert due(11) == due(10)
    assert (latencies.version, predicted(latencies, different(3))) == (version, before)
    latencies.update(MEASURED[:14])
    assert latencies.version != version


@pytest.mark.parametrize("count", [0, 10])
def test_what_was_measured_before_the_search_counts_as_well(count: int) -> None:
    before = [(candidate, latency) for _, candidate, latency in MEASURED[:10]]
    latencies = Latencies(10, before)
    latencies.update(MEASURED[10 : 10 + count])
    means = np.array(predicted(latencies, [candidate for candidate, _ in before]))[:, 0]
    assert np.abs(means / np.array([latency for _, latency in before]) - 1).max() < 0.2


def test_a_calibration_on_a_slower_day_takes_the_level_of_the_trials() -> None:
    slower = Latencies(10, [(candidate, 1.25 * latency) for _, candidate, latency in MEASURED[:12]])
    candidates, truth = zip(*[(candidate, latency) for _, candidate, latency in MEASURED], strict=True)
    before = np.array(predicted(slower, list(candidates)))[:, 0] / np.array(truth)
    slower.update(MEASURED[12:20])
    after = np.array(predicted(slower, list(candidates)))[:, 0] / np.array(truth)
    assert np.median(before) == pytest.approx(1.25, abs=0.05)
    assert np.median(after) == pytest.approx(1, abs=0.03)
