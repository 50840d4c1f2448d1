"""What a run expects of itself: what is left is counted by what its drivers know."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import different, drive, finish, make_study, task_of
from rich.console import Console

from nas.candidates.candidate import Candidate
from nas.commands.forecasts import announce, of_finals, of_repeats, of_search
from nas.estimate import Expected, Plan
from nas.estimate.outlook import Outlook, usual_speed
from nas.estimate.whole import REPORT_SECONDS
from nas.run_folder.paths import RunFolder
from nas.search.finalists import Finalists
from nas.search.references import References
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.together import Together
from nas.study import Study
from nas.tasks import Task


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return different(1)[0]


def outlook_of(study: Study, candidate: Candidate) -> Outlook:
    return Outlook(Plan(study, usual_speed(), 640, 10, Expected((), (candidate,), 1.0, 0.0, 0)))


def running(candidate: Candidate, count: int) -> list[Task]:
    return [Task(number, candidate, "search", 0, 8, Path()) for number in range(count)]


def test_trials_that_are_complete_or_running_are_not_ahead(candidate: Candidate, folder: RunFolder) -> None:
    study = make_study(trials=6, workers=1)
    search = Search(study, folder)
    outlook = outlook_of(study, candidate)
    job = outlook.plan.job(candidate)
    assert of_search(outlook, search).left([]) == pytest.approx(6 * job)
    assert of_search(outlook, search).left(running(candidate, 2)) == pytest.approx(4 * job + job)  # one place alone
    drive(search)
    forecast = of_search(outlook_of(study, candidate), search)
    assert forecast.left([]) == 0
    assert forecast.further() > REPORT_SECONDS


def test_a_search_that_goes_on_knows_what_it_trained(candidate: Candidate, folder: RunFolder) -> None:
    drive(Search(make_study(trials=6), folder))
    study = make_study(trials=20)
    search = Search(study, folder)
    outlook = outlook_of(study, candidate)
    alone = outlook.search_left([], 14)
    assert of_search(outlook, search).left([]) != pytest.approx(alone)


def test_hours_and_epochs_end_what_is_ahead(candidate: Candidate, folder: RunFolder) -> None:
    study = make_study(trials=1000, workers=1, hours=0.01, repeat_share=0.0)
    outlook = outlook_of(study, candidate)
    job = outlook.plan.job(candidate)
    assert of_search(outlook, Search(study, folder)).left([]) == pytest.approx(36 + job, abs=1.0)
    study = make_study(trials=1000, workers=1, epoch_budget=33.0, finalists=1, repeat_share=0.5)
    outlook = outlook_of(study, candidate)
    forecast = of_search(outlook, Search(study, folder))
    assert forecast.left([]) == pytest.approx(4 * outlook.plan.job(candidate))
    assert forecast.further() == pytest.approx(2 * outlook.plan.job(candidate) + outlook.finals_seconds())


def test_repeats_and_finalists(candidate: Candidate, folder: RunFolder) -> None:
    study = make_study(trials=10, finalists=3, repeat_share=0.2, workers=1)
    search = Search(study, folder)
    drive(search)
    outlook = outlook_of(study, candidate)
    repeats = of_repeats(outlook, Repeats(search))
    assert repeats.left([]) == pytest.approx(2 * outlook.plan.job(candidate))
    finalists = Finalists(study, folder)
    finalists.choose(search)
    forecast = of_finals(outlook, finalists)
    jobs = [outlook.plan.job(task.candidate, final=True) for task in finalists.waiting]
    assert len(jobs) == 3
    assert forecast.left([]) == pytest.approx(sum(jobs))
    assert forecast.further() == REPORT_SECONDS
    drive(finalists)
    assert of_finals(outlook, finalists).left([]) == 0


def test_a_file_that_is_only_quantized_takes_next_to_nothing(candidate: Candidate, folder: RunFolder) -> None:
    study = make_study(trials=1, finalists=0)
    references = References(study, folder)
    references.choose()
    forecast = of_finals(outlook_of(study, candidate), Together((references,)))
    assert forecast.left([]) > 0
    finish(references, task_of(references))
    assert len(references.waiting) == 1
    assert forecast.left([]) == 0


def test_the_whole_is_announced(candidate: Candidate) -> None:
    console = Console(width=120)
    with console.capture() as shown:
        announce(outlook_of(make_study(trials=6), candidate), console)
    assert shown.get().startswith("About ")
    assert "usual machine" in shown.get()
