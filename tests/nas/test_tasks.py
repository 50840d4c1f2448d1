"""Tasks and what is said of them as lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import different

from nas.tasks import Rung, Task, Verdict


@pytest.mark.parametrize("folder", ["/runs/a", "/runs/caf\udce9", "/runs/new\nline"])
def test_a_task_survives_its_line(folder: str) -> None:
    """Also where the folder's name is not UTF-8; the line is ASCII, whatever the locale."""
    candidate = different(1)[0]
    task = Task(7, candidate, "final", 3, 8, Path(folder), 2, {"mixup": 0.1}, reads_test=True, is_constrained=False)
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
