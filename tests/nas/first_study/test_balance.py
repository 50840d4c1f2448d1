"""Uneven classes, and the shares of what is held back."""

from __future__ import annotations

import pytest

from nas.first_study.balance import choose_balance, choose_shares
from nas.first_study.choices import settings_of


def test_even_classes_are_scored_by_accuracy() -> None:
    assert settings_of(choose_balance(("a", "b"), (299, 100))) == {"objectives": ["accuracy"]}


def test_uneven_classes_weigh_the_same() -> None:
    found = choose_balance(("rare", "usual"), (100, 300))
    assert settings_of(found) == {"objectives": ["balanced_accuracy"], "training": {"class_weights": "balanced"}}
    assert all("Class 'usual' has 3 times the images of 'rare' (300 and 100)" in choice.why for choice in found)


@pytest.mark.parametrize(
    ("given", "images", "shares"),
    [
        (("train",), 1000, {"validation": 0.15, "test": 0.15}),
        (("train",), 3000, {"validation": 0.1, "test": 0.1}),
        (("train", "test"), 50_000, {"validation": 0.1}),
        (("train", "test"), 200_000, {"validation": 0.05}),
        (("train", "val"), 10**7, {"test": 0.01}),
    ],
)
def test_only_what_is_missing_is_held_back(given: tuple[str, ...], images: int, shares: dict[str, float]) -> None:
    assert settings_of(choose_shares(given, images))["data"] == shares


def test_given_parts_need_no_share() -> None:
    assert not choose_shares(("train", "val", "test"), 100)


def test_the_reason_is_said_once() -> None:
    first, second = choose_shares(("train",), 100)
    assert "No validation and no test images" in first.why
    assert not second.why
