"""Beliefs: what carries over from other data is how candidates compare, not their level."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import different, make_study
from scipy.stats import spearmanr

from nas.candidates.candidate import Candidate
from nas.search.beliefs import MOST, Belief, Beliefs, logit
from nas.search.earlier import EarlierRun, EarlierTrial
from nas.study import Study

DRAWN = different(60)


def truth(candidate: Candidate, level: float, reach: float) -> float:
    """An accuracy that grows with the network, of another level and range for other data."""
    size = np.log(candidate.parameters(10)) + 0.5 * np.log(candidate.macs(10))
    return float(1 / (1 + np.exp(-(level + reach * (size - 15)))))


def run_of(
    candidates: list[Candidate], level: float, reach: float, names: tuple[str, ...] = ("accuracy",)
) -> EarlierRun:
    return EarlierRun(
        "r", tuple(EarlierTrial(c.to_json(), dict.fromkeys(names, truth(c, level, reach))) for c in candidates)
    )


def study_of(*objectives: str) -> Study:
    return make_study().model_copy(update={"objectives": objectives})


def believed(runs: list[EarlierRun], candidates: list[Candidate]) -> list[float]:
    beliefs = Beliefs(study_of("accuracy", "size_bytes"), 10, runs)
    found = [beliefs(candidate) for candidate in candidates]
    assert all(size is None for _, size in found)
    return [accuracy for accuracy, _ in found if accuracy is not None]


def test_unseen_candidates_are_believed_as_the_earlier_run_would_have_them() -> None:
    found = believed([run_of(DRAWN[:40], 0.5, 0.4)], DRAWN[40:])
    expected = [truth(candidate, 0.5, 0.4) for candidate in DRAWN[40:]]
    assert found == pytest.approx(expected, abs=0.03)


def test_two_runs_of_other_levels_are_believed_in_how_candidates_compare() -> None:
    """One of easy data and one of hard data; a model of both without their levels would see mostly the data."""
    runs = [run_of(DRAWN[:20], 2.0, 0.2), run_of(DRAWN[20:40], -1.0, 0.8)]
    found = believed(runs, DRAWN[40:])
    expected = [truth(candidate, 0.5, 0.5) for candidate in DRAWN[40:]]
    assert spearmanr(found, expected).statistic > 0.95
    assert min(expected) - 0.1 < min(found) < max(found) < max(expected) + 0.1


def test_a_quality_that_no_earlier_run_has_is_not_believed() -> None:
    runs = [run_of(DRAWN[:10], 0.5, 0.4)]
    assert Beliefs(study_of("macro_f1", "size_bytes"), 10, runs)(DRAWN[0]) == (None, None)
    assert Beliefs(
        study_of(
            "accuracy",
        ),
        10,
        [run_of(DRAWN[:2], 0.5, 0.4)],
    )(DRAWN[0]) == (None,)
    assert Beliefs(
        study_of(
            "accuracy",
        ),
        10,
        [],
    )(DRAWN[0]) == (None,)
    both = [run_of(DRAWN[:10], 0.5, 0.4, ("accuracy", "macro_f1"))]
    one, _, other = Beliefs(study_of("accuracy", "macs", "macro_f1"), 10, both)(DRAWN[11])
    assert one == other is not None


def test_the_same_runs_let_one_believe_the_same() -> None:
    runs = [run_of(DRAWN[:30], 0.5, 0.4)]
    assert believed(runs, DRAWN[40:45]) == believed(runs, DRAWN[40:45])


def test_of_many_trials_a_part_is_used() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(MOST, 3))
    belief = Belief.of(features, np.zeros(MOST, dtype=np.intp), 1 / (1 + np.exp(-features[:, 0])))
    assert len(belief.process) == MOST
    many = [run_of(DRAWN, 0.5, 0.4)] * (MOST // len(DRAWN) + 2)
    assert len(believed(many, DRAWN[:3])) == 3


def test_alike_earlier_trials_and_perfect_ones_give_finite_beliefs() -> None:
    features, runs = np.zeros((4, 2)), np.zeros(4, dtype=np.intp)
    belief = Belief.of(features, runs, np.ones(4))
    assert 0.99 < belief(np.array([5.0, -5.0])) < 1
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
