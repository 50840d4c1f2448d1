"""What is said of a study that was written."""

from __future__ import annotations

from nas.estimate import Estimate, Seconds
from nas.first_study.budget import Fitted, Numbers
from nas.first_study.choices import Choice
from nas.first_study.words import reasons, time_in_words

NUMBERS = Numbers(1, 1, None, 1, 1, None, 16)


def test_reasons_with_values() -> None:
    choices = [Choice("a", 1), Choice("b.c", [1, 2], "so"), Choice("d.e", True, "perhaps", is_suggestion=True)]
    assert list(reasons(choices)) == [("b.c", "[1, 2]", "so"), ("(d.e)", "true", "perhaps")]


def said(seconds: float, share: float, budget: float) -> str:
    part = Seconds(seconds / 4, seconds / 2)
    fitted = Fitted(NUMBERS, share, Estimate(part, part, Seconds(seconds, seconds)))
    return " ".join(time_in_words(fitted, budget))


def test_time() -> None:
    assert said(1200, 0.5, 1300) == (
        "A run takes about 20.0 min on this machine: 5.0 min to 10.0 min of search, then 5.0 min to 10.0 min for "
        "finalists and baseline."
    )
    assert "more than the 10 min asked for" in said(1200, 0, 600)
    assert "less than the 60 min asked for" in said(1200, 1, 3600)
    assert "asked for" not in said(1200, 1, 1300)
