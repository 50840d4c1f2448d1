"""Tasks and what is said of them as lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from by_hand import different

from nas.tasks import Rung, Task, Verdict, rung_between


@pytest.mark.parametrize("folder", ["/runs/a", "/runs/caf\udce9", "/runs/new\nline"])
def test_a_task_survives_its_line(folder: str) -> None:
    """Also where the folder's name is not UTF-8; the line is ASCII, whatever the locale."""
    candidate = different(1)[0]
    task = Task(
        7,
        candidate,
        "final",
        3,
        8,
        Path(folder),
        2,
        {"mixup": 0.1},
        reads_test=True,
        is_constrained=False,
        rungs=(0.25, 0.5),
        made_from=Path(folder) / "other",
    )
    line = task.to_line()
    assert line.isascii()
    assert "\n" not in line
    assert Task.from_line(line) == task
    plain = Task(0, candidate, "search", 0, 1, Path(folder))
    assert (plain.reads_test, plain.is_constrained) == (False, True)
    assert Task.from_line(plain.to_line()) == plain


def test_a_rung_and_a_verdict_are_plain_data() -> None:
    rung = Rung(epochs=1.5, budget=8)
    assert Rung(**vars(rung)) == rung
    assert [Verdict(word) for word in ("continue", "pause", "stop")] == list(Verdict)
    scored = Rung(2.0, 8, 0.25, {"accuracy": 0.5}, 0.75)
    assert Rung(**json.loads(json.dumps(vars(scored)))) == scored


def test_a_rung_lies_behind_the_first_epoch_that_reaches_it() -> None:
    rungs = (0.25, 0.5)  # behind 3 and 5 of 10
    reached = [rung_between(rungs, 10, done - 0.6, done + 0.4) for done in range(1, 11)]
    assert reached == [None, None, 0.25, None, 0.5, *[None] * 5]
    whole = [rung_between(rungs, 10, done - 1, done) for done in range(1, 11)]
    assert whole == reached
    assert rung_between((0.01,), 4, 0, 1) == 0.01, "not before the first"


def test_a_rung_has_a_folder_of_its_own() -> None:
    task = Task(0, different(1)[0], "search", 3, 8, Path("/runs/a/artifacts/x/search-3"), rungs=(0.25,))
    own = task.at_rung(0.25)
    assert (own.phase, own.folder) == ("rung", Path("/runs/a/artifacts/x/search-3-r0.25"))
