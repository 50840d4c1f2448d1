"""Which trainings of a search go on: the rule of `nas.samplers.halving`, asked about the trials of the journal.

All that it knows is in the trials' notes: what each has reached, how many of its rungs it has passed, and the epochs
spent. A trial that has reached more rungs than it has passed is paused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from nas.records import QUALITIES, Evaluation, State
from nas.run_folder.attempts import forget_spent
from nas.run_folder.paths import write_evaluation
from nas.run_folder.rows import TrialNotes
from nas.run_folder.rungs import last_record, spent_on
from nas.samplers.halving import RUNGS, Halving, best, promotable, rung_values, with_rung
from nas.search.journal import Journal, RecordedTrial
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Rung, Task

PASSED = "halving:passed"  # how many of its rungs a trial has left behind
UNRUN_MS = 1e9  # what a latency that no target gives counts as: longer than that of any network
SPENT = "halving:spent"  # epochs of its training at its last rung, and epochs of all copies that were scored


def is_paused(trial: RecordedTrial) -> bool:
    """Whether an unfinished trial waits at a rung."""
    return not trial.state.is_finished() and len(trial.user_attrs.get(RUNGS, {})) > _passed(trial)


def _passed(trial: RecordedTrial) -> int:
    """How many of its rungs a trial has left behind."""
    return int(trial.user_attrs.get(PASSED, 0))


def last_rung(trial: RecordedTrial) -> float | None:
    """The last rung that a trial has reached."""
    return max(rung_values(trial), default=None)


class Rungs:
    """The rungs of a search; without any in the study, every trial goes on to its end."""

    def __init__(self, study: Study, journal: Journal) -> None:
        self._study, self._journal = study, journal
        self._halving = halving_of(study)
        self._here: dict[tuple[int, float], list[int]] = defaultdict(list)
        for trial in journal.trials():
            for share in rung_values(trial):
                self._here[self._bracket(trial.number), share].append(trial.number)

    def of(self, number: int) -> tuple[float, ...]:
        """The rungs of a trial. One that a user queued again has none: it is to be done."""
        trials = self._journal.trials()
        again = number < len(trials) and TrialNotes.from_json(trials[number].user_attrs).retry_of is not None
        return () if self._halving is None or again else self._halving.rungs_of(number)

    def reached(self, number: int) -> int:
        """How many of its rungs a trial has reached; none where it is yet to be drawn."""
        trials = self._journal.trials()
        return len(rung_values(trials[number])) if number < len(trials) else 0

    def passed(self, number: int) -> int:
        """How many of its rungs a trial has left behind."""
        return _passed(self._journal.trials()[number])

    def left(self, number: int) -> int:
        """How many rungs a trial has before it, the one at which it is included."""
        return len(self.of(number)) - self.passed(number)

    def paused(self) -> list[int]:
        """The trials that wait at a rung, in order of number."""
        trials = self._journal.trials()
        numbers = sorted({number for here in self._here.values() for number in here})
        return [number for number in numbers if is_paused(trials[number])]

    def tell(self, number: int, rung: Rung) -> None:
        """Note what a trial has reached; a rung that is told again after a restart is left as it was."""
        trial = self._journal.trials()[number]
        if rung.share is None or rung.scores is None or rung.share in rung_values(trial):
            return
        values = [rung.scores.get(name, UNRUN_MS) for name in self._study.objectives]
        _, copies = trial.user_attrs.get(SPENT, (0.0, 0.0))
        self._journal.note(number, SPENT, [rung.epochs, copies + rung.copy_epochs])
        self._journal.note(number, RUNGS, with_rung(trial, rung.share, values))
        self._here[self._bracket(number), rung.share].append(number)

    def goes_on(self, number: int) -> bool:
        """Whether a trial that has reached a rung is the next to leave it."""
        share = last_rung(self._journal.trials()[number])
        if share is None:
            return True
        return next(self._promotable(self._bracket(number), share), None) == number

    def next(self, *, anyone: bool = False) -> int | None:
        """The paused trial to go on with, from the highest rung down; with `anyone` however many are better."""
        halving = self._halving
        for share in reversed(halving.rungs if halving else ()):
            for bracket in range(halving.brackets if halving else 0):
                found = next(self._promotable(bracket, share, anyone=anyone), None)
                if found is not None:
                    return found
        return None

    def let_go(self, number: int) -> None:
        """Note that a trial leaves the rung it has reached."""
        trial = self._journal.trials()[number]
        if is_paused(trial):
            self._journal.note(number, PASSED, len(rung_values(trial)))

    def _promotable(self, bracket: int, share: float, *, anyone: bool = False) -> Iterator[int]:
        """Paused trials at a rung that may go on, the best first."""
        numbers, halving = self._here.get((bracket, share), []), self._halving
        if halving is None or not numbers:
            return
        trials = self._journal.trials()  # once: each call makes a list of all
        here = [trials[number] for number in numbers]
        points = halving.points([rung_values(trial)[share] for trial in here], self._journal.directions)
        before = halving.rungs[bracket:].index(share)
        passed = {i for i, trial in enumerate(here) if before < _passed(trial)}
        ended = {i for i, trial in enumerate(here) if i not in passed and trial.state.is_finished()}
        if anyone:
            free = best(points, len(numbers))
        else:
            free = promotable(points, passed, halving.share_kept(share), ended=ended)
        yield from (numbers[i] for i in free if i not in passed and i not in ended)

    def _bracket(self, number: int) -> int:
        return 0 if self._halving is None else self._halving.bracket_of(number)


def halving_of(study: Study) -> Halving | None:
    """The study's rule; qualities count by difference and costs by ratio, as on every front. None without rungs."""
    if not study.rungs:
        return None
    scales: list[Any] = ["linear" if name in QUALITIES else "log" for name in study.objectives]
    return Halving(study.rungs, study.search.brackets, scales)


def write_pruned(task: Task, study: Study, *, reason: str = "") -> Evaluation:
    """Record that a task's training ends at its last rung, with what it has reached there.

    Without a `reason` it is that the search has ended.
    """
    spent = spent_on(task)
    record = last_record(task) or Evaluation(
        candidate_id=task.candidate.id,
        structure_id="",
        phase=task.phase,
        seed=task.seed,
        state=State.PRUNED,
        budget=study.training.epochs,
        target=study.target.name,
        training=task.training,
        recipe=task.recipe,
        started_at="",
    )
    where = f"at {record.epochs:g} of {task.epochs} epochs" if record.epochs else "before its first rung"
    own: dict[str, Any] = {"phase": task.phase, "state": State.PRUNED, "attempts": task.attempt, "model_sha256": {}}
    own |= {"seconds": dict(spent.seconds), "started_at": spent.started_at}
    evaluation = record.model_copy(update={**own, "reason": reason or f"paused {where} when the search ended"})
    write_evaluation(task.folder, evaluation)
    forget_spent(task.folder)
    (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return evaluation
