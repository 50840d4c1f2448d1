"""How sure the front is, in the tables of a run: as front.csv says, over any objectives, with and without repeats."""

import csv
import io

import pytest
from by_hand import finish, make_study, read
from rich.console import Console

from nas.files import write_atomically
from nas.records import score
from nas.report.figures import NONE, seeds_text, share_text
from nas.report.html import render
from nas.report.run import read_run
from nas.report.tables import front_rows, records, thinned
from nas.report.terminal import print_front
from nas.run_folder.columns import REPEAT_COLUMNS, trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import write_rows
from nas.search.finalists import Finalists
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.upkeep import write_front, write_repeats
from nas.study.file import dump_study
from nas.tasks import Task


@pytest.fixture
def searched(tmp_path):
    """A run of twelve trials and four repeats, before any finalist."""
    folder = RunFolder(tmp_path)
    search = Search(make_study(trials=12, finalists=2, repeat_share=0.34, seed=5), folder)
    while isinstance(task := search.propose(), Task):
        finish(search, task, validation=score(60 + task.number % 5, 100))  # too near each other to tell
    repeats = Repeats(search)
    while isinstance(task := repeats.propose(), Task):
        finish(repeats, task, validation=score(50 + task.number, 100))
    write_atomically(folder.study, dump_study(search.study))
    write_rows(folder.trials, trial_columns(search.study), reversed(search.rows()))  # as they may have ended
    write_repeats(repeats)
    return search, repeats


def sureness(rows):
    return {
        str(row["trial"]): [None if row[key] in ("", None) else float(row[key]) for key in KEYS] for row in rows
    }  # fmt: skip


KEYS = ("p_on_front", "seeds", "mean_accuracy")


def test_reading_the_tables_gives_what_the_search_wrote(searched):
    search, repeats = searched
    write_front(search, repeats, Finalists(search.study, search.folder))
    written = sureness(read(search.folder, "front"))
    assert sureness(records(front_rows(search.folder.path))) == written
    assert any(values[1] is not None for values in written.values())
    assert all(0 < p <= 1 for p, *_ in written.values())


def test_finalists_are_as_sure_as_their_own_files(searched):
    search, repeats = searched
    finalists = Finalists(search.study, search.folder)
    finalists.choose(search, repeats.by_trial())
    while isinstance(task := finalists.propose(), Task):
        finish(finalists, task, test=score(90, 100))
    write_front(search, repeats, finalists)
    assert sureness(records(front_rows(search.folder.path))) == sureness(read(search.folder, "front"))
    told = read(search.folder, "finalists")
    assert all(0 <= float(row["p_on_front"]) <= 1 for row in told)
    search.folder.repeats.unlink()
    alone = records(front_rows(search.folder.path))
    assert [row["p_on_front"] for row in alone] == [float(row["p_on_front"]) for row in read(search.folder, "front")]
    assert all(row["seeds"] is None for row in alone)


def test_another_choice_of_objectives_has_its_own_probabilities(make_run):
    run = make_run(trials=40)
    both, one = front_rows(run.path), front_rows(run.path, ["size_bytes"])
    assert (one["p_on_front"] == 1).all(), "sizes are exact"
    assert (both["p_on_front"] < 1).any()
    assert both["p_on_front"].between(0, 1).all()


def test_a_failed_repeat_says_nothing(make_run):
    run = make_run(trials=20, finalists=0)
    trial = int(front_rows(run.path).iloc[0]["trial"])
    rows = [
        {"trial": trial, "id": "x", "state": state, "accuracy": accuracy}
        for state, accuracy in (("COMPLETE", 0.5), ("FAILED", ""))
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, REPEAT_COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    (run.path / "repeats.csv").write_text(text.getvalue())
    best = records(front_rows(run.path))[0]
    assert (best["seeds"], best["mean_accuracy"]) == (2, pytest.approx((best["accuracy"] + 0.5) / 2))


def test_the_page_and_the_terminal_show_it(searched):
    search, _ = searched
    path = search.folder.path
    page = render(read_run(path))
    assert "on the front (%)" in page
    assert "mean of seeds (%)" in page
    assert "on the front with" in page
    console = Console(file=io.StringIO(), width=200)
    print_front(console, path, search.study.objectives)
    text = console.file.getvalue()
    for row in records(front_rows(path)):
        line = next(line for line in text.splitlines() if row["id"] in line)
        assert share_text(row["p_on_front"]) in line
        assert seeds_text(row) in line
    search.folder.repeats.unlink()
    assert "mean of seeds (%)" not in render(read_run(path))


def test_at_most_so_many_members(make_run):
    run = make_run(trials=40, finalists=0)
    names = run.study.objectives
    members = front_rows(run.path)
    assert len(members) > 4
    few = thinned(members, names, 4)
    assert len(few) == 4
    assert list(few["trial"]) == [trial for trial in members["trial"] if trial in set(few["trial"])]
    assert few.iloc[0]["trial"] == members.iloc[0]["trial"], "the most accurate is among them"
    assert thinned(members, names, None) is thinned(members, names, len(members)) is members
    console = Console(file=io.StringIO(), width=200)
    print_front(console, run.path, names, at_most=4)
    assert [row in console.file.getvalue() for row in members["id"]] == list(members["id"].isin(few["id"]))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.004, "<1"), (0.014, "1"), (0.5, "50"), (0.994, ">99"), (1.0, "100"), (None, NONE)],
)
def test_nearly_sure_is_not_sure(share, text):
    assert share_text(share) == text
    assert seeds_text({"mean_accuracy": share, "seeds": 3}) == (NONE if share is None else f"{100 * share:.1f} (3)")
