"""What is kept of the models from ask to ask changes nothing."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from conditional_genes import draw, values
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.models import basis as bases
from nas.samplers.models.history import read
from nas.samplers.models.modelling import Memory, Modelling, Models, Rows, bounded
from nas.samplers.models.scaling import box_of
from nas.samplers.spaces.decoding import Decoded, Decoder, costs_of
from nas.samplers.spaces.problem import Objectives, Problem


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


def test_a_running_candidate_is_believed_to_end_as_expected() -> None:
    """Its objective counts as known: there the process is surer than without it, and says the same."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: values(draw(trial))[0], n_trials=8)
    draw(study.ask())
    objectives = Objectives.of(study.directions, None)
    made = Decoder(Problem(lambda trial: tuple(draw(trial).items())), objectives, 0)
    basis = bases.Basis.of(made.sample, made.genes, objectives)

    def models_of(trials: list[optuna.trial.FrozenTrial]) -> Models:
        history = read(trials, made.given, chosen={})
        box = box_of(history.values, costs_of(made.sample)[0], None, objectives)
        return Modelling(history, objectives, basis, box, {}, Memory()).models([0], notable=frozenset())

    running = [made.given(study.trials[-1].params)]
    (mean, sd), (same, less) = (
        models.predict(running, models.features(running))
        for models in (models_of(study.trials[:-1]), models_of(study.trials))
    )
    assert same == pytest.approx(mean, abs=1e-9)
    assert (less < 0.9 * sd).all()
