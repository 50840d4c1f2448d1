"""Trials: what is asked, what a replay refuses, what a rule picks."""

from __future__ import annotations

import pytest

from search_spaces.trials import Pick, Replay, ask, first, last, middle, middle_of_range


class Silent:
    """A trial that must not be asked."""

    def suggest_categorical(self, name: str, choices: object) -> object:
        raise AssertionError(f"{name} was asked")

    suggest_int = suggest_categorical


def test_a_single_choice_is_not_asked_for() -> None:
    assert ask(Silent(), "a", (3,)) == 3
    assert ask(Replay({"a": 5}), "a", (3, 5)) == 5


def test_replay_answers_what_was_recorded() -> None:
    replay = Replay({"a": "x", "b": 3})
    assert replay.suggest_categorical("a", ("x", "y")) == "x"
    assert replay.suggest_int("b", 1, 3) == 3
    with pytest.raises(KeyError):
        replay.suggest_categorical("c", (1, 2))


def test_replay_refuses_what_is_not_among_the_choices() -> None:
    with pytest.raises(ValueError, match=r"gene a: expected one of \[3, 5\], got 4"):
        Replay({"a": 4}).suggest_categorical("a", (3, 5))
    with pytest.raises(ValueError, match=r"gene a: expected 1\.\.3, got 4"):
        Replay({"a": 4}).suggest_int("a", 1, 3)


@pytest.mark.parametrize(("pick", "expected"), [(first, 1), (middle, 2), (last, 4), (max, 4)])
def test_pick_answers_by_its_rule(pick: object, expected: int) -> None:
    assert Pick(pick).suggest_categorical("a", (1, 2, 3, 4)) == expected
    assert Pick(pick).suggest_int("a", 1, 4) == expected


def test_the_middle_of_an_odd_number_of_choices() -> None:
    assert middle((1, 2, 3)) == 2


@pytest.mark.parametrize(("log", "expected"), [(False, 5.05), (True, 1.0)])
def test_the_middle_of_a_range(log: bool, expected: float) -> None:
    assert middle_of_range(0.1, 10, log=log) == pytest.approx(expected)
