"""What is read of a study's trials, and what is kept of it from ask to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.models.history import Entrant, read
from nas.samplers.spaces.decoding import Decoded

STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)


def trial_of(number: int, x: float, state: TrialState, *, slack: float = 0.0, **attrs: Any) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        state=state, values=[x, -x] if state is TrialState.COMPLETE else None, params={"x": x},
        distributions={"x": FloatDistribution(0, 100)}, user_attrs=attrs,
    )  # fmt: skip
    trial.set_constraint("slack", slack)
    trial.number = number
    return trial


def candidate_of(params: Mapping[str, Any]) -> Decoded:
    return Decoded(
        params, key=params["x"], row=np.zeros(2), active=[True], costs=[(0.0, 0.0)], slacks={},
        described=np.zeros(0), priors=[], modelled=False,
    )  # fmt: skip


def numbers(entrants: list[Entrant]) -> list[int]:
    return [entrant.number for entrant in entrants]


def test_trials_are_sorted_by_what_they_say() -> None:
    trials = [trial_of(i, float(i), state) for i, state in enumerate(STATES)]
    trials += [trial_of(5, 5.0, TrialState.COMPLETE, slack=0.1), trial_of(6, 0.0, TrialState.COMPLETE)]
    history = read(trials, candidate_of, chosen={})
    assert (numbers(history.told), numbers(history.infeasible)) == ([0], [5])  # the last one is the first again
    assert (numbers(history.stopped), numbers(history.running)) == ([1, 2], [3])
    assert history.seen == {0.0, 1.0, 2.0, 3.0, 5.0}
    assert history.values.tolist() == [[0.0, 0.0]]


def test_an_infinite_value_tells_nothing() -> None:
    trials = [trial_of(0, 1.0, TrialState.COMPLETE), trial_of(1, 1.0, TrialState.COMPLETE)]
    trials[0].values = [float("inf"), 0.0]
    history = read(trials, candidate_of, chosen={})
    assert (numbers(history.told), numbers(history.stopped), history.seen) == ([1], [0], {1.0})


def test_a_running_trial_has_what_was_chosen_for_it() -> None:
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    trial.number = 3
    assert read([trial], candidate_of, chosen={}).running == []
    assert read([trial], candidate_of, chosen={3: {"x": 7.0}}).running[0].candidate.params == {"x": 7.0}


def test_trials_outside_the_space_are_passed_over() -> None:
    assert read([trial_of(0, 1.0, TrialState.COMPLETE)], lambda _: None, chosen={}).seen == set()


def test_finished_trials_are_decoded_once() -> None:
    trials, finished, asked = [trial_of(i, float(i), state) for i, state in enumerate(STATES)], {}, []

    def given(params: Mapping[str, Any]) -> Decoded:
        asked.append(params["x"])
        return candidate_of(params)

    first = read(trials, given, chosen={}, finished=finished)
    second = read(trials, given, chosen={}, finished=finished)
    assert asked == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert (first.told, first.stopped, first.seen) == (second.told, second.stopped, second.seen)
    another = [trial_of(0, 9.0, TrialState.COMPLETE)]  # of another study, which has the same numbers
    assert read(another, given, chosen={}, finished=finished).seen == {9.0}


def test_candidates_are_renewed_where_models_changed() -> None:
    trials, finished = [trial_of(i, float(i), TrialState.COMPLETE) for i in range(3)], {}

    def renewed(candidate: Decoded) -> Decoded:
        return replace(candidate, costs=[(1.0, 0.5)]) if candidate.key == 1.0 else candidate

    before = read(trials, candidate_of, chosen={}, finished=finished, renewed=renewed).told
    after = read(trials, candidate_of, chosen={}, finished=finished, renewed=renewed).told
    assert [entrant.candidate.costs for entrant in after] == [[(0.0, 0.0)], [(1.0, 0.5)], [(0.0, 0.0)]]
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(("attrs", "expected"), [({}, {}), ({"halving:rungs": {"0.25": [1, 2]}}, {0.25: [1, 2]})])
def test_scores_before_the_end(attrs: dict[str, Any], expected: dict[float, list[float]]) -> None:
    history = read([trial_of(0, 1.0, TrialState.PRUNED, **attrs)], candidate_of, chosen={})
    assert history.stopped[0].rungs == expected
