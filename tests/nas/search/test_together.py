"""Drivers that share places: who is asked first, and who hears of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from by_hand import different, evaluated, make_study

from nas.records import Phase
from nas.run_folder.paths import RunFolder
from nas.search.driver import WAIT, Done, Wait
from nas.search.together import Together
from nas.tasks import Rung, Task, Verdict


class Scripted:
    """A driver whose answers are given; it notes what it hears."""

    def __init__(self, phase: Phase, *answers: Task | Wait | Done) -> None:
        self.phase, self.folder = phase, RunFolder(Path("/run"))
        self._answers, self.heard = list(answers), list[str]()

    def propose(self) -> Task | Wait | Done:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def rows(self) -> list[Any]:
        return [self.phase]

    def report(self, task: Task, rung: Rung) -> Verdict:
        self.heard.append("report")
        return Verdict.STOP if self.phase == "final" else Verdict.CONTINUE

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.heard.append(name)


def task(phase: Phase, number: int = 0) -> Task:
    return Task(number, different(1)[0], phase, 0, 1, Path("/run/x"))


def together(*drivers: Scripted) -> Together:
    return Together(drivers)  # type: ignore[arg-type]


def test_the_first_comes_first_and_the_next_takes_what_is_left() -> None:
    final, reference = task("final"), task("reference")
    both = together(Scripted("final", final, WAIT), Scripted("reference", reference, Done()))
    assert [both.propose() for _ in range(3)] == [final, reference, WAIT]
    assert both.rows() == ["final", "reference"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Done(), WAIT, WAIT),
        (WAIT, Done("no more"), WAIT),
        (Done("a"), Done(), Done("a")),
        (Done("a"), Done("b"), Done("a; b")),
        (Done(), Done(), Done()),
    ],
)
def test_all_are_done_together(first: Wait | Done, second: Wait | Done, expected: Wait | Done) -> None:
    assert together(Scripted("final", first), Scripted("reference", second)).propose() == expected


def test_each_hears_of_its_own_tasks_though_numbers_are_equal() -> None:
    final, reference = Scripted("final", WAIT), Scripted("reference", WAIT)
    both, rung = together(final, reference), Rung(1, 2)
    assert both.report(task("reference"), rung) is Verdict.CONTINUE
    assert both.report(task("final"), rung) is Verdict.STOP
    both.paused(task("reference"))
    both.finish(task("reference"), evaluated(task("reference"), make_study()))
    both.died(task("final"), "killed")
    both.took_too_long(task("final"))
    assert reference.heard == ["report", "paused", "finish"]
    assert final.heard == ["report", "died", "took_too_long"]
