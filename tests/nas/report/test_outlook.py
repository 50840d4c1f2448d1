"""What a search still expects, as its tables tell."""

import io

import pytest
from rich.console import Console

from nas.report.html import render
from nas.report.outlook import expected_per_hour, outlook_words
from nas.report.run import read_run
from nas.report.tables import read_trials
from nas.report.terminal import print_front


@pytest.fixture
def run(make_run):
    """Trials of 16.2 seconds of which every one is expected to add 0.01 %."""
    made = make_run(trials=30, finalists=0)

    def note(row):
        row["expected_gain"] = "" if row["state"] == "DUPLICATE" else "0.0001"

    made.rewrite("trials.csv", note)
    return made


def test_per_hour_at_the_rate_of_the_trials(run):
    trials = read_trials(run.path)
    took = trials.loc[trials["state"] != "DUPLICATE", "seconds"].mean()
    assert expected_per_hour(trials, run.study) == pytest.approx(0.0001 * 3600 / took)
    two = run.study.model_copy(update={"search": run.study.search.model_copy(update={"workers": 2})})
    assert expected_per_hour(trials, two) == pytest.approx(2 * expected_per_hour(trials, run.study))


def test_the_page_and_the_terminal_say_so(run):
    words = outlook_words(expected_per_hour(read_trials(run.path), run.study))
    assert words.startswith("Another hour of the search is expected to enlarge the hypervolume by 2.2 %")
    assert words in render(read_run(run.path))
    console = Console(file=io.StringIO(), width=80)
    print_front(console, run.path, run.study.objectives)
    assert words in console.file.getvalue()


def test_nothing_is_said_where_the_sampler_said_nothing(make_run):
    run = make_run(trials=30, finalists=0)
    assert expected_per_hour(read_trials(run.path), run.study) is None
    assert outlook_words(None) == ""
    assert "Another hour" not in render(read_run(run.path))
