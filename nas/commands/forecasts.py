"""What `nas run` expects of itself: a forecast for each of its drives, from one outlook that all of them teach."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rich.console import Console

from nas.estimate import Plan, estimate_of, expected_candidates
from nas.estimate.outlook import Outlook, usual_speed
from nas.estimate.whole import trials_of
from nas.estimate.words import duration
from nas.executors.view import Forecast
from nas.records import State
from nas.search.finalists import Finalists
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.standing import standing
from nas.search.together import Together
from nas.study import Study
from nas.tasks import Task


def outlook_of(study: Study, *, train_images: int, num_classes: int) -> Outlook:
    """What is expected before anything is timed; `train_images` are those there are, for trials or finalists."""
    expected = expected_candidates(study, num_classes=num_classes)
    return Outlook(Plan(study, usual_speed(), train_images, num_classes, expected))


def announce(outlook: Outlook, console: Console) -> None:
    """What a whole run takes; said at once, since calibration may take a minute."""
    about = duration(estimate_of(outlook.plan).total.middle)
    console.print(f"About {about} on a usual machine; corrected as soon as training is timed.", highlight=False)


def of_search(outlook: Outlook, search: Search) -> Forecast:
    """Trials that are not begun are as those trained so far, in this run folder, and as what may be drawn."""
    for row in standing(search.rows()):
        outlook.trained(search.notes(row.number).candidate)
    wanted, hours = trials_of(outlook.plan), search.study.search.hours
    ends = math.inf if hours is None else time.monotonic() + 3600 * hours

    def left(running: Sequence[Task]) -> float:
        not_begun = max(0, wanted - search.count(State.COMPLETE) - len(running))
        return outlook.search_left(running, not_begun, within=ends - time.monotonic())

    return Forecast(outlook, left, further=outlook.after_search)


def of_repeats(outlook: Outlook, repeats: Repeats) -> Forecast:
    """As many as there may be."""

    def not_begun(running: int) -> int:
        return max(0, repeats.budget - len(repeats.rows()) - running)

    return Forecast(
        outlook,
        left=lambda running: outlook.repeats_left(running, not_begun(len(running))),
        further=outlook.finals_seconds,
    )


def of_finals(outlook: Outlook, last: Finalists | Together) -> Forecast:
    """What waits is known, and in which order; what is made from a finished file takes next to nothing."""

    def left(running: Sequence[Task]) -> float:
        return outlook.finals_left(running, [task.candidate for task in last.waiting if task.made_from is None])

    return Forecast(outlook, left, further=lambda: outlook.report_seconds)
