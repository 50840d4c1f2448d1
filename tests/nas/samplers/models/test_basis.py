"""Columns of the model: on one scale, none that says nothing new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.study import StudyDirection

from nas.samplers.models.basis import Basis
from nas.samplers.spaces.decoding import Decoder, distinct
from nas.samplers.spaces.gene_features import gene_features, gene_groups
from nas.samplers.spaces.pools import random_rows
from nas.samplers.spaces.problem import Objectives, Problem
from nas.samplers.spaces.recording import Choices, Whole
from nas.samplers.spaces.units import Genes

OBJECTIVES = Objectives.of([StudyDirection.MINIMIZE, StudyDirection.MINIMIZE], None)


def space(trial: Any) -> Any:
    kind = trial.suggest_categorical("kind", ("a", "b", "c"))
    return kind, trial.suggest_int("width0", 1, 4)


def costs(params: Mapping[str, Any]) -> list[float | None]:
    return [None, float(params["width0"])]


def decoder(**known: Any) -> Decoder:
    return Decoder(Problem(space, costs, **known), OBJECTIVES, 0)


def test_columns_of_genes() -> None:
    genes = Genes({"kind": Choices(("a", "b", "c")), "width0": Whole(1, 4, 1, False), "on": Choices((True, False))})
    rows = np.array([[0.5, 0.125, 0.25, 0.0], [0.9, 0.875, 0.75, 0.0]])
    active = np.array([[True, True, True], [True, False, True]])
    assert gene_features(genes, rows, active).tolist() == [[0, 1, 0, -0.375, -0.25], [0, 0, 1, 0, 0.25]]
    assert gene_groups(genes) == ["kind", "kind", "kind", "width0", "on"]


@pytest.mark.parametrize("known", [{}, {"features": lambda params: [100.0 * params["width0"] ** 2]}])
def test_groups_have_a_variance_of_1(known: dict[str, Any]) -> None:
    made = decoder(**known)
    basis = Basis.of(made.sample, made.genes, OBJECTIVES)
    columns = basis.features(made.sample)
    for group in set(basis.groups.tolist()):
        assert columns[:, basis.groups == group].var(axis=0).sum() == pytest.approx(1)
    assert columns.mean(axis=0) == pytest.approx(np.zeros(columns.shape[1]), abs=1e-9)


def test_what_says_nothing_new_is_left_out() -> None:
    made = decoder(features=lambda params: [7.0, 3.0 - params["width0"], params["width0"] ** 2])
    assert Basis.of(made.sample, made.genes, OBJECTIVES).kept.tolist() == [0, 3]  # the cost, and its square


def test_candidates_are_told_apart_by_record_and_cost() -> None:
    made = decoder()
    candidates = made.decode(random_rows(made.genes, 300, 1))
    assert len(distinct(candidates, set())) == 12
    assert len(distinct(candidates, {candidates[0].key})) == 11
    again = made.given(candidates[0].params)
    assert again is not None
    assert again.key == candidates[0].key
    assert made.given({"kind": "z"}) is None


def test_what_models_say_is_asked_again() -> None:
    said = [1.0]
    made = Decoder(Problem(space, lambda _: [None, (said[0], 0.1)]), OBJECTIVES, 0)
    rows = random_rows(made.genes, 5, 1)
    assert made.decode(rows)[0].costs[1] == (1.0, 0.1)
    said[0] = 2.0
    assert made.decode(rows)[0].costs[1] == (1.0, 0.1)
    made.begin()
    assert made.decode(rows)[0].costs[1] == (2.0, 0.1)
    assert made.sample[0].costs[1] == (2.0, 0.1)


def test_a_version_says_whether_to_ask_again() -> None:
    class Model:
        version, asked = 1, 0

        def __call__(self, params: Mapping[str, Any]) -> list[Any]:
            self.asked += 1
            return [None, (1.0, 0.1)]

    model = Model()
    made = Decoder(Problem(space, model), OBJECTIVES, 0)
    rows = random_rows(made.genes, 5, 1)
    for version, asked in ((1, 5), (1, 5), (2, 10)):
        model.version = version
        made.begin()
        made.decode(rows)
        assert model.asked == asked
