"""A tracker's own thread: what a search tells is queued for it, so that neither a slow nor a broken store is felt.

What is queued too long, or is missed while no tracker runs, is found in the run folder's tables at the next end or
start.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

from nas.executors.pool import Event, Reported, Told
from nas.executors.watching import HASTY
from nas.records import QUALITIES, Evaluation, State
from nas.registry import TRACKERS
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.study import Study
from nas.tasks import Task
from nas.tracking.record import begun, best_in, finished, finished_in
from nas.tracking.tracker import OpenStore, Store, TrackedRun, artifacts_of, tracked_run, without_secrets

END_SECONDS, HASTE_SECONDS = 60.0, 3.0  # that the end of a run waits for a tracker, and one in haste
MOST_QUEUED = 2000
MOST_WORDS = 300  # characters of an error's message
Job = Callable[[Store], object]


class TrackerFailed(Exception):
    """A tracker has broken; the message is one line without secrets."""


class Background:
    """The watcher that tells the tracker `name` of TRACKERS. Raises TrackerFailed once its store has failed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._problem = ""
        self._epochs: dict[tuple[str, int], int] = {}
        self._best: dict[str, float] = {}
        self._count = 0
        self._thread: threading.Thread | None = None

    def began(self, study: Study, folder: RunFolder) -> None:
        self._study, self._folder = study, folder
        run = tracked_run(study, folder)  # here, where trackers follow each other: they share its key
        self._thread = threading.Thread(target=self._work, args=(run,), name=f"tracker {self.name}", daemon=True)
        self._thread.start()

    def started(self, task: Task) -> None:
        trial = begun(task, self._folder.relative(task.folder))
        self._tell(lambda store: store.begin(trial))

    def happened(self, event: Event) -> None:
        match event:
            case Told(task, progress) if progress.part == "train" and progress.loss is not None:
                values = {"loss": progress.loss, "images_per_second": progress.images_per_second}
                self._reached(task, progress.epochs, values)
            case Reported(task, rung) if rung.scores:
                values = {f"rung/{name}": value for name, value in rung.scores.items()}
                self._progress(task, rung.epochs, values)
            case _:
                self._raise()

    def over(self, task: Task, evaluation: Evaluation | None, row: TrialRow) -> None:
        trial = finished(task.phase, row, self._study)
        self._epochs.pop((task.phase, task.number), None)
        self._tell(lambda store: store.end(trial))
        if task.phase == "search":
            self._tell(lambda store: self._total(store, row))

    def ended(self, folder: RunFolder, problem: str) -> None:
        def last(store: Store) -> None:
            catch_up(store, folder)
            store.close(artifacts_of(folder), is_over=not problem)

        assert self._thread is not None
        with self._changed:
            self._jobs.append(last)
            self._ends = True
            self._changed.notify()
        seconds = HASTE_SECONDS if problem in HASTY else END_SECONDS
        self._thread.join(seconds)
        self._raise()
        if self._thread.is_alive():
            raise TrackerFailed(f"not done after {seconds:.0f} s; what is missing is told at the next `nas run`")

    def _reached(self, task: Task, epochs: float, values: Mapping[str, float]) -> None:
        """Tell of every epoch once."""
        key = (task.phase, task.number)
        if int(epochs) > self._epochs.get(key, 0):
            self._epochs[key] = int(epochs)
            self._progress(task, epochs, values)

    def _progress(self, task: Task, epochs: float, values: Mapping[str, float]) -> None:
        key = begun(task, self._folder.relative(task.folder)).key
        self._tell(lambda store: store.progress(key, epochs, values))

    def _total(self, store: Store, row: TrialRow) -> None:
        """Of the thread: tell how many trials have ended, and the best of each quality so far."""
        self._count = max(self._count, row.number + 1)
        if row.state is State.COMPLETE:
            for name in self._qualities:
                self._best[name] = max(self._best.get(name, 0.0), row.value(name))
        if self._best:
            store.total(self._count, {f"best/{name}": value for name, value in self._best.items()})

    @property
    def _qualities(self) -> list[str]:
        return [name for name in self._study.objectives if name in QUALITIES]

    def _tell(self, job: Job) -> None:
        self._raise()
        with self._changed:
            if len(self._jobs) < MOST_QUEUED:
                self._jobs.append(job)
                self._changed.notify()

    def _raise(self) -> None:
        if self._problem:
            raise TrackerFailed(self._problem)

    def _work(self, run: TrackedRun) -> None:
        """The thread."""
        try:
            open_store: OpenStore = TRACKERS[self.name]
            store = open_store(run)
            catch_up(store, self._folder)
            self._best = best_in(self._folder, self._qualities)  # a run that goes on does not fall behind itself
            while (job := self._next()) is not None:
                job(store)
        except Exception as error:  # whatever a library raises: no search ends by its tracker
            text = without_secrets(" ".join(str(error).split())) or "no message"
            self._problem = (
                f"{type(error).__name__}: {text[:MOST_WORDS]}"  # cut last: half an address is not known as one
            )

    def _next(self) -> Job | None:
        """The next job; None when there is none left and the run ends."""
        with self._changed:
            while not self._jobs and not self._ends:
                self._changed.wait()
            return self._jobs.popleft() if self._jobs else None


def catch_up(store: Store, folder: RunFolder) -> None:
    """Tell of every evaluation that the folder's tables hold and the store does not know."""
    missing = {trial.key: trial for trial in finished_in(folder, known=store.has)}  # of a retry, its last end
    for trial in missing.values():
        store.end(trial)
