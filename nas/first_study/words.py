"""What is said on the terminal of a study that was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas.estimate.words import span
from nas.first_study.budget import Fitted
from nas.first_study.choices import Choice
from nas.first_study.document import flow


def reasons(choices: Sequence[Choice]) -> Iterator[tuple[str, str, str]]:
    """Key, value and reason of every choice that has one; the key of a suggestion stands in brackets."""
    for choice in choices:
        if choice.why:
            yield f"({choice.key})" if choice.is_suggestion else choice.key, flow(choice.value), choice.why


def time_in_words(fitted: Fitted, budget_s: float) -> Iterator[str]:
    """What a run is estimated to take, and why it is not what was asked for."""
    found = fitted.estimate
    yield (
        f"A run takes about {span(found.total)} on this machine: {span(found.search)} of search, then "
        f"{span(found.finalists)} for finalists and baseline."
    )
    if fitted.seconds > budget_s:
        yield (
            f"That is more than the {budget_s / 60:g} min asked for, and the least that makes sense: after fewer steps "
            "a trial says nothing of its network."
        )
    elif fitted.share == 1 and fitted.seconds < 0.7 * budget_s:
        yield (
            f"That is less than the {budget_s / 60:g} min asked for: it is the most of this effort, and "
            "--effort thorough has the most of all."
        )
