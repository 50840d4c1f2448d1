"""The loop around any executor: free places are filled, results are taken, the terminal shows them, signals end it."""

from __future__ import annotations

from pathlib import Path

from nas.errors import InputError
from nas.executors.pool import (
    Broke,
    Died,
    Event,
    Executor,
    Finished,
    Noticed,
    Paused,
    Refused,
    Reported,
    Told,
    TookTooLong,
)
from nas.executors.stopping import Stop, Terminated
from nas.executors.view import Screen, View
from nas.executors.watching import Watchers, nobody
from nas.records import Evaluation
from nas.run_folder.artifacts import ArtifactError, pack, unpack
from nas.run_folder.paths import read_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.driver import Done, Drives, Wait
from nas.tasks import Task

MAX_START_DEATHS = 3
WAIT_SECONDS = 0.2


class WorkFailed(Exception):
    """The search cannot go on; the message says why."""


def disk_words(path: Path, problem: str) -> str:
    return f"{path}: {problem}; nothing finished is lost, the same command goes on"


def drive(driver: Drives, executor: Executor, stop: Stop, screen: Screen, watchers: Watchers | None = None) -> str:
    """Fill free places, take what they finish; returns the driver's problem, if it has one.

    Raises InputError where a worker refuses the study, WorkFailed where no worker can go on, Interrupted at the second
    Ctrl-C, Terminated after SIGTERM: once what was running is paused or finished, or the notice is over.
    """
    start_deaths, watchers = 0, watchers or nobody()
    with screen.showing() as view, stop.watching(lambda: view.left_of(executor.running)):
        while True:
            answer: Task | Wait | Done | None = None
            while executor.idle and not stop.asked and isinstance(answer := driver.propose(), Task):
                executor.submit(answer)
                watchers.started(answer)
            if isinstance(answer, Done) or (stop.asked and not executor.running):
                view.show(None)  # the end changes counts too: what is paused then is PRUNED
                if stop.is_terminated:
                    raise Terminated
                return answer.problem if isinstance(answer, Done) else ""
            stop.check()
            view.tick(executor.running)
            watchers.expects(view.left_seconds)
            for event in executor.wait(WAIT_SECONDS):
                if not stop.is_terminated:  # batch systems end workers too, which while they start hear of no signal
                    start_deaths = _start_deaths(event, start_deaths)
                watchers.happened(event)
                if isinstance(event, Reported):
                    executor.answer(event.task, stop.verdict(driver.report(event.task, event.rung)))
                    continue
                row = _handle(event, driver, view, watchers)
                if row is not None:
                    view.show(row)


def _start_deaths(event: Event, before: int) -> int:
    """Deaths in a row of workers that had never become ready; raises WorkFailed at MAX_START_DEATHS.

    A machine that is lost takes any number of them with it, and says nothing of the next.
    """
    if isinstance(event, Finished):
        return 0
    if not isinstance(event, Died) or event.started or not event.blamed:
        return before
    if before + 1 >= MAX_START_DEATHS:
        raise WorkFailed(f"workers do not start: {event.reason}")
    return before + 1


def _handle(event: Event, driver: Drives, view: View, watchers: Watchers) -> TrialRow | None:
    """Tell the driver what happened, and the watchers of a trial that is over by it, whose row is returned."""
    match event:
        case Refused(reason):
            raise InputError(reason)
        case Broke(_, reason):
            raise WorkFailed(disk_words(driver.folder.path, reason))
        case Told(task, progress):
            view.heard(task, progress)
        case Noticed(text):
            view.notice(text)
        case Paused(task):
            driver.paused(task)
        case Died(Task() as task, reason, started, blamed):
            return _over(watchers, task, driver.died(task, reason, started=started and blamed))
        case TookTooLong(task):
            return _over(watchers, task, driver.took_too_long(task))
        case Finished(task, artifact):
            try:
                evaluation = take(task, artifact)
            except ArtifactError as error:  # as useless as no result
                return _over(watchers, task, driver.died(task, f"its result cannot be used: {error}"))
            view.finished(task, evaluation)
            return _over(watchers, task, driver.finish(task, evaluation), evaluation)
    return None


def _over(
    watchers: Watchers, task: Task, row: TrialRow | None, evaluation: Evaluation | None = None
) -> TrialRow | None:
    """Tell the watchers of a trial that is over, if it is; returns its row."""
    if row is not None:
        watchers.over(task, evaluation, row)
    return row


def take(task: Task, artifact: Path | bytes) -> Evaluation:
    """The task's evaluation, its files brought into `task.folder` where they are not there yet.

    Raises ArtifactError where they are no artifact folder, or another task's.
    """
    if isinstance(artifact, Path) and artifact != task.folder:
        artifact = pack(artifact)
    if isinstance(artifact, bytes):
        unpack(artifact, task)
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None, f"{task.folder} has no evaluation.json"
    return evaluation
