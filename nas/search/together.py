"""Drivers that share the places of an executor: the first comes first, the next take the places it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.records import Evaluation
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.tasks import Rung, Task, Verdict


@dataclass(frozen=True)
class Together:
    """Several drivers of one run folder, each of a phase of its own, driven as one."""

    drivers: Sequence[Driver]

    @property
    def folder(self) -> RunFolder:
        return self.drivers[0].folder

    def rows(self) -> list[TrialRow]:
        """Those of every driver, one after the other."""
        return [row for driver in self.drivers for row in driver.rows()]

    @property
    def waiting(self) -> list[Task]:
        """What is known to be evaluated next, in this order."""
        return [task for driver in self.drivers for task in driver.waiting]

    def propose(self) -> Task | Wait | Done:
        """The task of the first driver that has one; Done, with every problem, once all are."""
        answers = list[Wait | Done]()
        for driver in self.drivers:
            answer = driver.propose()
            if isinstance(answer, Task):
                return answer
            answers.append(answer)
        over = [answer for answer in answers if isinstance(answer, Done)]
        if len(over) < len(answers):
            return WAIT
        return Done("; ".join(answer.problem for answer in over if answer.problem))

    def report(self, task: Task, rung: Rung) -> Verdict:
        return self._of(task).report(task, rung)

    def paused(self, task: Task) -> None:
        self._of(task).paused(task)

    def finish(self, task: Task, evaluation: Evaluation) -> TrialRow:
        return self._of(task).finish(task, evaluation)

    def died(self, task: Task, reason: str, *, started: bool = True) -> TrialRow | None:
        return self._of(task).died(task, reason, started=started)

    def took_too_long(self, task: Task) -> TrialRow:
        return self._of(task).took_too_long(task)

    def _of(self, task: Task) -> Driver:
        """The driver whose task it is."""
        return next(driver for driver in self.drivers if driver.phase == task.phase)
