"""A study as a list of choices, before and after what the user asks for."""

from __future__ import annotations

from nas.first_study.choices import AS_ASKED, Choice, overridden, settings_of

CHOICES = (
    Choice("name", "a"),
    Choice("data.source", "digits", "they are there"),
    Choice("data.flip", False, "off"),
    Choice("data.flip", True, "on where mirrored means the same", is_suggestion=True),
    Choice("constraints.latency_ms", {"max": 2.0}, "a limit", is_suggestion=True),
    Choice("search.trials", 12, "as many as fit", is_timed=True),
)


def test_settings_leave_suggestions_out() -> None:
    assert settings_of(CHOICES) == {
        "name": "a",
        "data": {"source": "digits", "flip": False},
        "search": {"trials": 12},
    }


def test_what_is_asked_for_replaces_a_choice_its_reason_and_its_mark() -> None:
    wanted = {"name": "a", "data": {"source": "digits", "flip": False}, "search": {"trials": 3}}
    assert overridden(CHOICES, wanted) == [*CHOICES[:5], Choice("search.trials", 3, AS_ASKED)]


def test_a_value_that_was_asked_for_needs_no_suggestion() -> None:
    wanted = {"name": "a", "data": {"source": "digits", "flip": True}, "search": {"trials": 12}}
    assert overridden(CHOICES, wanted) == [
        *CHOICES[:2], Choice("data.flip", True, AS_ASKED), CHOICES[4], CHOICES[5]
    ]  # fmt: skip


def test_a_suggestion_is_switched_on_where_it_stands() -> None:
    limit = {"latency_ms": {"max": 0.5}}
    wanted = settings_of(CHOICES) | {"constraints": limit}
    expected = Choice("constraints.latency_ms", {"max": 0.5}, AS_ASKED)
    assert overridden(CHOICES, wanted) == [*CHOICES[:4], expected, CHOICES[5]]


def test_new_keys_stand_at_the_end_and_what_is_gone_is_dropped() -> None:
    wanted = {"name": "a", "data": {"source": "digits", "flip": False}, "training": {"epochs": 2}, "baseline": False}
    assert overridden(CHOICES, wanted) == [
        *CHOICES[:5], Choice("training.epochs", 2, AS_ASKED), Choice("baseline", False, AS_ASKED)
    ]  # fmt: skip


def test_nothing_asked_for_changes_nothing() -> None:
    assert overridden(CHOICES, settings_of(CHOICES)) == list(CHOICES)
