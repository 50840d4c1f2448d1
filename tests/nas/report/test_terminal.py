"""The front as it is printed: no figure is cut, numbers are readable, an empty one says why."""

import io
import json
import re

import pandas as pd
import pytest
from rich.console import Console

from nas.report.figures import accuracy_text, figure
from nas.report.tables import front_rows, records
from nas.report.terminal import front_tables, print_front, why_empty
from nas.run_folder.columns import FRONT_COLUMNS

OBJECTIVES = ("accuracy", "parameters", "latency_ms", "size_bytes")


def printed(frame, objectives=OBJECTIVES):
    """The table as a terminal shows it."""
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(*front_tables(frame, objectives))
    return capture.get()


def shown(run, objectives=OBJECTIVES, *, width=80, terminal=False):
    """What `nas front` prints on a terminal of this width, or into a pipe."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_front(console, run.path, objectives)
    return file.getvalue()


def test_the_table_is_in_per_cent_kilobytes_and_milliseconds():
    row = dict.fromkeys(FRONT_COLUMNS, "") | {
        "trial": 7, "id": "ab12cd34ef56", "accuracy": 0.97222, "accuracy_se": 0.01225, "test_accuracy": None,
        "test_accuracy_se": None, "parameters": 77706, "size_bytes": 12345, "latency_ms": 0.031249,
        "macs": 1234567, "peak_memory_bytes": 4096, "search_accuracy": 0.9,
    }  # fmt: skip
    labels, units, line = printed(pd.DataFrame([row]), (*OBJECTIVES, "macs", "peak_memory_bytes")).splitlines()
    for label in ("validation", "test", "file size", "latency"):
        assert label in labels
    assert "MACs" in units
    assert [word for word in units.split() if word[0] == "("] == ["(%)", "(%)", "(ms)", "(KB)", "(KB)"]
    assert "97.2 ± 1.2" in line
    for text in ("12.3", "0.0312", "77\u202f706", "1\u202f234\u202f567", "4.10", "–"):
        assert text in line


def test_numbers_are_right_aligned_and_data_is_no_markup(make_run):
    front = front_rows(make_run(trials=40).path)
    front["flags"] = "[red]unstable[/red]"
    (table,) = front_tables(front, OBJECTIVES)
    sides = {str(column.header): column.justify for column in table.columns}
    assert {side for title, side in sides.items() if title not in ("id", "flags")} == {"right"}
    assert "[red]unstable[/red]" in printed(front)
    assert "flags" not in printed(front.assign(flags=""))


FIVE = ("accuracy", "parameters", "latency_ms", "size_bytes", "macs", "peak_memory_bytes")


def figures_of(front):
    """Every figure that the table is to show, as text: by trial number and id."""
    return {
        (str(row["trial"]), row["id"]): [
            accuracy_text(row["accuracy"], row["accuracy_se"]), *(figure(key).text(row[key]) for key in FIVE[1:])
        ]
        for row in records(front)
    }  # fmt: skip


@pytest.mark.parametrize("finalists", [0, 8])
@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_a_terminal_of_any_width_shows_every_figure_beside_its_trial(make_run, width, finalists):
    run = make_run(trials=40, finalists=finalists)
    text = shown(run, FIVE, width=width, terminal=True)
    assert "…" not in text
    assert all(len(line.rstrip()) <= max(width, 36) for line in text.splitlines()), "trial, id and one figure at least"
    blocks = text.strip("\n").split("\n\n")
    assert (len(blocks) == 1) == (width == 200)
    for (trial, name), figures in figures_of(front_rows(run.path, FIVE)).items():
        lines = [line for block in blocks for line in block.splitlines() if re.match(rf" *{trial} +{name} ", line)]
        assert len(lines) == len(blocks), "in every block once"
        for cell in figures:
            assert any(f" {cell} " in f"{line} " for line in lines), cell


def test_a_pipe_is_never_cut(make_run):
    run = make_run(trials=40, finalists=0)
    front = front_rows(run.path, FIVE)
    lines = shown(run, FIVE, width=40).splitlines()
    assert max(map(len, lines)) > 80
    for line, (trial, figures) in zip(lines[-len(front) :], figures_of(front).items(), strict=True):
        assert line.split()[:2] == list(trial)
        assert all(text in line for text in figures)


def test_long_flags_and_large_trial_numbers_are_not_cut(make_run):
    run = make_run(trials=12, finalists=0)
    run.rewrite("trials.csv", lambda row: row.update(number=str(10**9 + int(row["number"]))))
    flags = "a-flag-that-is-longer-than-any-other unstable"
    for artifact in (run.path / "artifacts").glob("*/*/evaluation.json"):
        artifact.write_text(json.dumps(json.loads(artifact.read_text()) | {"flags": flags.split()}))
    for terminal in (True, False):
        text = shown(run, terminal=terminal)
        assert text.count(flags) == len(front_rows(run.path))
        assert all(f"{trial} " in text for trial in front_rows(run.path)["trial"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "INFEASIBLE", "violation": "latency_ms=0.1"},
         "no trial is complete (12 infeasible; constraints.latency_ms is broken by 12)."),
        ({"state": "FAILED", "violation": ""}, "no trial is complete (12 failed)."),
        ({"state": "COMPLETE", "accuracy": ""}, "none of 12 that may stand on it was measured in accuracy."),
    ],
)  # fmt: skip
def test_an_empty_front_says_why(make_run, change, why):
    run = make_run(trials=12, finalists=0)
    run.rewrite("trials.csv", lambda row: row.update(change))
    assert shown(run) == f"The front is empty: {why}\n"


@pytest.mark.parametrize(
    ("flag", "why"), [("parity", "the file does not answer"), ("simulated", "no runtime computes")]
)
def test_an_empty_front_says_that_all_are_flagged(make_run, flag, why):
    run = make_run(trials=12, finalists=0)
    for artifact in (run.path / "artifacts").glob("*/*/evaluation.json"):
        artifact.write_text(json.dumps(json.loads(artifact.read_text()) | {"flags": ["unstable", flag]}))
    number = len(run.state("COMPLETE"))
    assert why_empty(run.path, OBJECTIVES).startswith(
        f"The front is empty: all {number} complete trials are flagged `{flag}`: {why}"
    )


def test_no_trial_has_ended(make_run):
    assert shown(make_run(trials=0, finalists=0)) == "The front is empty: no trial has ended yet.\n"


def test_a_front_of_trials_says_that_no_finalist_may_stand(make_run):
    run = make_run(trials=12, finalists=2)
    assert "finalists" not in shown(run)
    run.rewrite("finalists.csv", lambda row: row.update(state="INFEASIBLE", reason="accuracy 0.87, limit 0.9"))
    first, *_ = shown(run).splitlines()
    numbers = [row["trial"] for row in run.finalists]
    ended = "; ".join(f"{number} infeasible: accuracy 0.87, limit 0.9" for number in numbers)
    assert first == f"None of the finalists may stand on the front ({ended}). These are search trials:"


def test_a_recipe_of_its_own_is_told(make_run):
    front = front_rows(make_run().path)
    assert "recipe" not in printed(front)
    first = [" ".join(["epochs=9", "train_images=all"]), *[""] * (len(front) - 1)]
    text = printed(front.assign(recipe=first))
    assert text.count("epochs=9 train_images=all") == 1
    assert "recipe" in text
