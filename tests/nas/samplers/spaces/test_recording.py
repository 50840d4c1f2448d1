"""Units lead to values and back, and recorded parameters are replayed or refused."""

from __future__ import annotations

import math

import optuna
import pytest
from conditional_genes import CHOICES, draw
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nas.samplers.spaces.recording import (
    BELOW_ONE,
    Choices,
    GivenTrial,
    Question,
    Real,
    UnitTrial,
    UnknownGene,
    Whole,
    allows,
    cells_of,
    is_ordered,
    key_of,
    question_of,
    unit_of,
    value_at,
)

UNITS = st.floats(0, BELOW_ONE)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    kind = draw(st.sampled_from(["choices", "whole", "whole log", "real", "real log", "real step"]))
    if kind == "choices":
        return Choices(tuple(draw(st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True))))
    low = draw(st.integers(1, 50))
    if kind == "whole":
        step = draw(st.integers(1, 4))
        return Whole(low, low + step * draw(st.integers(0, 9)), step, False)
    if kind == "whole log":
        return Whole(low, low + draw(st.integers(0, 40)), 1, True)
    if kind == "real step":
        return Real(float(low), low + 0.25 * draw(st.integers(0, 9)), 0.25, False)
    return Real(float(low), low + draw(st.floats(0.1, 40)), None, kind == "real log")


def distribution_of(question: Question) -> optuna.distributions.BaseDistribution:
    match question:
        case Choices(choices):
            return CategoricalDistribution(choices)
        case Whole(low, high, step, log):
            return IntDistribution(low, high, log=log, step=step)
        case Real(low, high, stride, log):
            return FloatDistribution(low, high, log=log, step=stride)


@given(questions(), UNITS)
def test_units_give_values_that_optuna_takes(question: Question, unit: float) -> None:
    value = value_at(question, unit)
    distribution = distribution_of(question)
    assert allows(question, value)
    assert distribution._contains(distribution.to_internal_repr(value))
    assert question_of(distribution) == question


@given(questions(), UNITS)
def test_values_lead_back_to_themselves(question: Question, unit: float) -> None:
    value = value_at(question, unit)
    there = unit_of(question, value)
    assert 0 <= there < 1
    assert value_at(question, there) == pytest.approx(value, rel=1e-9)
    if cells_of(question):
        assert math.floor(there * cells_of(question)) == math.floor(unit * cells_of(question))


@given(questions())
def test_every_value_has_a_unit(question: Question) -> None:
    assume(cells_of(question) > 0)
    cells = cells_of(question)
    drawn = {value_at(question, (cell + 0.5) / cells) for cell in range(cells)}
    assert len(drawn) == cells


def test_a_trial_of_units_answers_by_name() -> None:
    trial = UnitTrial({"kind": 0.99, "width": 0.0, "rate": 0.5})
    assert trial.suggest_categorical("kind", ["a", "b", "c"]) == "c"
    assert trial.suggest_int("width", 8, 32, step=8) == 8
    assert trial.suggest_float("rate", 0.01, 1.0, log=True) == pytest.approx(0.1)
    assert trial.params.keys() == trial.questions.keys() == {"kind", "width", "rate"}
    assert trial.suggest_categorical("kind", ["a", "b", "c"]) == "c"


def test_a_gene_without_a_unit_is_drawn_by_name_and_salt() -> None:
    answers = [UnitTrial({}, salt=salt).suggest_int("unknown", 0, 10**6) for salt in (0.25, 0.25, 0.75)]
    assert answers[0] == answers[1] != answers[2]


def test_recorded_parameters_are_replayed() -> None:
    genes = {name: choices[0] for name, choices in CHOICES.items()}
    trial = GivenTrial(genes)
    assert draw(trial) == trial.params == {name: genes[name] for name in genes if "2" not in name and "3" not in name}


@pytest.mark.parametrize(("params", "said"), [({}, "got none"), ({"depth": 9}, "got 9"), ({"depth": "1"}, "got '1'")])
def test_parameters_of_another_space_are_refused(params: dict[str, object], said: str) -> None:
    with pytest.raises(UnknownGene, match=f"gene depth: expected .*{said}"):
        GivenTrial(params).suggest_categorical("depth", (1, 2, 3))


def test_true_is_not_one() -> None:
    assert allows(Choices((True, False)), True)
    assert not allows(Choices((True, False)), 1)
    assert not allows(Whole(0, 3, 1, False), True)


def test_order_of_choices() -> None:
    assert is_ordered(Choices((1, 2, 3)))
    assert is_ordered(Choices((0.5, 0.2, 0.1)))
    assert not is_ordered(Choices((1, 3, 2)))
    assert not is_ordered(Choices(("a", "b", "c")))
    assert is_ordered(Whole(1, 2, 1, False))


def test_keys_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 2, "b": 1})
