"""What `nas run` expects of itself: a forecast for each of its drives, from one outlook that all of them teach."""

from __future__ import annotations

from rich.console import Console

from nas.data import DataSet, load
from nas.estimate import Plan, estimate_of, expected_candidates
from nas.estimate.outlook import Outlook, usual_speed
from nas.estimate.words import duration
from nas.executors.view import Forecast
from nas.records import State
from nas.search.finalists import Finalists
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.standing import standing
from nas.search.together import Together
from nas.study import Study


def outlook_of(study: Study, data: DataSet) -> Outlook:
    """What is expected before anything is timed."""
    images, classes = len(data.train), len(data.class_names)
    if study.final_images != study.search_images:
        final = load(study.data_of(study.final_images), input_size=study.space.input_sizes[-1], seed=study.search.seed)
        images = max(images, len(final.train))
    plan = Plan(study, usual_speed(), images, classes, expected_candidates(study, num_classes=classes))
    return Outlook(plan)


def announce(outlook: Outlook, console: Console) -> None:
    """What a whole run takes; said at once, since calibration may take a minute."""
    about = duration(estimate_of(outlook.plan).total.middle)
    console.print(f"About {about} on a usual machine; corrected as soon as training is timed.", highlight=False)


def of_search(outlook: Outlook, search: Search) -> Forecast:
    """Trials that are not begun are as those trained so far, in this run folder, and as what may be drawn."""
    for row in standing(search.rows()):
        outlook.trained(search.notes(row.number).candidate)
    wanted = search.study.search.trials

    def not_begun(running: int) -> int:
        return max(0, wanted - search.count(State.COMPLETE) - running)

    return Forecast(
        outlook,
        left=lambda running: outlook.search_left(running, not_begun(len(running))),
        further=outlook.after_search,
    )


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
    """What waits is known, and in which order."""
    return Forecast(
        outlook,
        left=lambda running: outlook.finals_left(running, [task.candidate for task in last.waiting]),
        further=lambda: outlook.report_seconds,
    )
