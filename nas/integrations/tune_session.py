"""A search whose trials Ray Tune runs: the driver behind a searcher and a scheduler. Nothing here knows Tune's classes.

The journal is the record. What Tune remembers of a trial may be older: what is finished in the journal is over,
whatever Tune says, and what is not is proposed until it is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from nas.commands.preparation import prepare, resolve
from nas.commands.refusals import refuse
from nas.commands.run import calibrate, folder_at
from nas.commands.setup import setup_of
from nas.errors import InputError
from nas.executors.loop import take
from nas.executors.stopping import Stop
from nas.files import sole_holder, write_atomically
from nas.integrations.tune_trial import MARK, OWN, Order, unpacked
from nas.records import State
from nas.run_folder.artifacts import EVALUATION_FILE, ArtifactError
from nas.run_folder.exchange import complete_exchange
from nas.run_folder.paths import read_evaluation
from nas.search.driver import WAIT, Done, Wait
from nas.search.finalists import Finalists
from nas.search.repeats import Repeats
from nas.search.rungs import is_paused, write_pruned
from nas.search.search import Search
from nas.search.upkeep import Upkeep, write_front
from nas.study import Study
from nas.tasks import Rung, Task, Verdict


class Standing(StrEnum):
    """What a trial that Tune remembers is to do."""

    RUNS = "runs"
    PAUSED = "paused"
    OVER = "over"


class TuneSession:
    """A run folder that is worked in alone, and the trials that Tune runs or has paused, by number.

    `most` is how many may run at once; None: as many as there is room for. Raises InputError where the study or the
    folder cannot be used.
    """

    def __init__(self, study: Study, path: Path, *, console: Console | None = None) -> None:
        self._held = ExitStack()
        console = console or Console(stderr=True)
        folder = folder_at(path)
        self._held.enter_context(sole_holder(folder.lock))
        try:
            complete_exchange(folder.path)
            self.study = study = resolve(study, folder)
            refuse(study, folder)
            _refuse_devices(study)
            names = prepare(study, folder, console).search.class_names
            measured = calibrate(study, folder, len(names), console, Stop(console=console))
            self.driver = Search(study, folder, class_names=names, calibrated=measured)
        except BaseException:
            self._held.close()
            raise
        self.most: int | None = None
        self.word = secrets.token_hex(8)
        write_atomically(folder.path / MARK, self.word)
        self._upkeep = Upkeep(self.driver)
        self._upkeep()
        self._setup = setup_of(self.study, folder, workers=1)
        self._tasks: dict[int, Task] = {}
        self._running: set[int] = set()
        self._paused: set[int] = set()
        self._promoted: set[int] = set()
        self._since: dict[int, float] = {}
        self._why: dict[int, str] = {}
        self.done: Done | None = None
        self.fetch: Callable[[], None] = lambda: None  # brings what paused trials have left elsewhere

    def close(self) -> None:
        """Let go of the folder; the front stands in it."""
        write_front(
            self.driver, Repeats(self.driver), Finalists(self.study, self.driver.folder, beside=self.driver.journal)
        )
        (self.driver.folder.path / MARK).unlink(missing_ok=True)
        self._held.close()

    def abandon(self) -> None:
        """Let go of the folder as a driver that was killed would."""
        self._held.close()

    def propose(self) -> Task | Wait | Done:
        """A trial that Tune does not have yet. One that it has paused is noted as promoted instead."""
        if self.done is not None:
            return self.done
        self.fetch()
        if self.most is not None and len(self._running) >= self.most:
            return WAIT
        answer = self.driver.propose()
        if isinstance(answer, Done):
            self.done = answer
            self._upkeep()
            self.close()
        if not isinstance(answer, Task):
            return answer
        self._start(answer)
        if answer.number in self._paused:
            self._paused.remove(answer.number)
            self._promoted.add(answer.number)
            return WAIT
        return answer

    def order(self, task: Task) -> str:
        """What a worker is told of a task."""
        return Order(task, self.word).to_json()

    def stand(self, number: int) -> Standing:
        """What a trial that Tune took up again, after a restart or a death, is to do."""
        trials = self.driver.journal.trials()
        if number >= len(trials) or trials[number].state.is_finished() or number in self._running:
            return Standing.OVER
        if (task := self.driver.take_up(number)) is not None:
            self._start(task)
            return Standing.RUNS
        if is_paused(trials[number]):
            self._paused.add(number)
            return Standing.PAUSED
        return Standing.OVER

    def task(self, number: int) -> Task:
        """What a trial that Tune has was last told."""
        return self._tasks[number]

    def words(self) -> str:
        """How many trials are in which state, for Tune's reporters."""
        counts = {state.lower(): self.driver.count(state) for state in State}
        own = {"running": len(self._running), "paused": len(self._paused)}
        return "compact-nas: " + ", ".join(f"{n} {word}" for word, n in {**own, **counts}.items() if n)

    def is_promoted(self, number: int) -> bool:
        """Whether a paused trial is to go on."""
        return number in self._promoted

    def report(self, number: int, rung: Rung) -> Verdict:
        """Whether a training goes on."""
        self._promoted.discard(number)
        verdict = self.driver.report(self._tasks[number], rung)
        if verdict is Verdict.PAUSE:
            self._running.discard(number)
            self._paused.add(number)
            self.driver.paused(self._tasks[number])
        if verdict is Verdict.STOP:
            self._why[number] = f"stopped after {rung.epochs:g} of {rung.budget} epochs"
        return verdict

    def over(self, number: int, files: Path | None) -> None:
        """A trial has ended; `files` is the folder of its last checkpoint. One without an evaluation was stopped."""
        if self._is_finished(number):
            return
        task = self._tasks[number]
        try:
            self._bring(task, files)
        except ArtifactError as error:
            self.died(number, f"its result cannot be used: {error}")
            return
        evaluation = read_evaluation(task.folder) or write_pruned(
            task, self.study, reason=self._why.get(number, "stopped by Ray Tune")
        )
        self._end(number)
        self.driver.finish(task, evaluation)
        self._upkeep()

    def keep(self, number: int, files: Path) -> None:
        """Keep what a paused trial has reached; `files` is the folder of its last checkpoint."""
        if number in self._tasks and not self._is_finished(number):
            unpacked(files, self._tasks[number])

    def _bring(self, task: Task, files: Path | None) -> None:
        if files is None or read_evaluation(task.folder) is not None:
            return
        if (files / OWN / EVALUATION_FILE).exists():
            take(task, files / OWN)
        unpacked(files, task)

    def died(self, number: int, reason: str, *, blamed: bool = True) -> None:
        """A worker died over a trial: it is proposed again, or FAILED at its third death."""
        if number in self._running and not self._is_finished(number):
            self._end(number)
            self.driver.died(self._tasks[number], reason, started=blamed)
            self._upkeep()

    def dropped(self, number: int) -> None:
        """Tune has given a trial up that it had not ended: it is proposed again."""
        self._paused.discard(number)
        if number in self._running and not self._is_finished(number):
            self._end(number)
            self.driver.paused(self._tasks[number])

    def late(self, number: int) -> bool:
        """Whether a trial is over its time; then it has FAILED. Called again and again while it runs."""
        if self._is_finished(number) or number not in self._running:
            return False
        now = time.monotonic()
        limit = self._setup.limit_minutes(self._tasks[number])
        since = self._since.setdefault(number, now)
        if limit is None:
            return False
        if self._setup.excused():
            self._since[number] = now
            return False
        if now - since <= 60 * limit:
            return False
        self._end(number)
        self.driver.took_too_long(self._tasks[number])
        self._upkeep()
        return True

    def _start(self, task: Task) -> None:
        self._tasks[task.number] = task
        self._running.add(task.number)
        self._since.pop(task.number, None)

    def _end(self, number: int) -> None:
        self._running.discard(number)
        self._promoted.discard(number)
        self._since.pop(number, None)

    def _is_finished(self, number: int) -> bool:
        return self.driver.journal.trials()[number].state.is_finished()


_SESSIONS: dict[Path, TuneSession] = {}


def opened(study: Study, path: Path) -> TuneSession:
    """The session of a run folder in this process: Tune copies its searcher and scheduler, which find it here."""
    place = path.resolve()
    if place not in _SESSIONS:
        _SESSIONS[place] = TuneSession(study, place)
    return _SESSIONS[place]


def reopened(study: Study, path: Path) -> TuneSession:
    """A new session, for a new run of Tune: what another one left running is proposed again."""
    earlier = _SESSIONS.pop(path.resolve(), None)
    if earlier is not None:
        earlier.abandon()
    return opened(study, path)


def _refuse_devices(study: Study) -> None:
    """Raise InputError for targets that only the engine `ray` sends files to."""
    for index, target in enumerate(study.targets):
        if target.device is not None:
            raise InputError(f"targets[{index}].device: inside Ray Tune expected none, got {target.device!r}")
