"""Repeats: candidates whose place on the front is uncertain, trained again with other seeds before the finalists.

One training of a candidate says as much of its seed as of the candidate, and the front collects the lucky ones. The
files on a front stay those that were measured; means over seeds say how sure their places are, and who is retrained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from nas.records import Evaluation, Phase, State
from nas.run_folder.rows import ROW, TrialNotes, TrialRow
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.search import Search
from nas.search.standing import standing
from nas.search.sureness import Repeated, on_front
from nas.tasks import Task

AMBIGUOUS = (0.05, 0.95)  # between these probabilities of being on the front a place is open
FIRST_SEED = 2  # beyond the study's; the next one to the study's is the finalists'


class Repeats(Driver):
    """Trains the candidates of `search` again that are worth it, as many as `search.repeat_share` allows."""

    phase: Phase = "repeat"
    is_search = True
    is_constrained = False  # it is known already what the candidate costs

    def __init__(self, search: Search) -> None:
        self._search = search
        self._sureness: tuple[tuple[int, int], list[float]] | None = None
        super().__init__(
            search.study, search.folder, f"{search.study.name}/repeat", ["maximize"], beside=search.journal
        )

    @property
    def budget(self) -> int:
        """How many repeats there may be in all."""
        return int(self.study.search.repeat_share * self._search.count(State.COMPLETE))

    def propose(self) -> Task | Wait | Done:
        """The next repeat, chosen by what all earlier ones have shown."""
        if self._waiting:
            return self._start(self._waiting.pop(0))
        chosen = self._next() if len(self.journal.trials()) < self.budget else None
        if chosen is None:
            return WAIT if self._running else Done()
        number = self.journal.enqueue(self._notes(chosen).to_json())
        return self._start(self._task(number))

    @property
    def unfinished(self) -> bool:
        """Whether there may be any yet to train."""
        return bool(self._waiting) or len(self.journal.trials()) < self.budget

    def by_trial(self) -> Repeated:
        """The complete repeats of each search trial."""
        return by_trial(self.rows())

    def _begun(self) -> dict[int, int]:
        """How often each search trial was begun again, whatever became of it."""
        counts: dict[int, int] = {}
        for number in range(len(self.journal.trials())):
            trial = self.notes(number).search_trial
            assert trial is not None
            counts[trial] = counts.get(trial, 0) + 1
        return counts

    def _seeds(self, trial: int) -> set[int]:
        """Those that a search trial's candidate was trained with; of a merged run they may be any."""
        notes = map(self.notes, range(len(self.journal.trials())))
        return {self._search.notes(trial).seed} | {own.seed for own in notes if own.search_trial == trial}

    def _next(self) -> TrialRow | None:
        rows, begun = standing(self._search.rows()), self._begun()
        return most_ambiguous(rows, self._sure(rows), [1 + begun.get(row.number, 0) for row in rows])

    def _sure(self, rows: Sequence[TrialRow]) -> list[float]:
        """Probabilities to be on the front: half a second's work, which only a finished trial can change."""
        finished = len(rows), len(self.rows())
        if self._sureness is None or self._sureness[0] != finished:
            found = on_front(rows, self.study.objectives, self.by_trial(), seed=self.study.search.seed)
            self._sureness = finished, found
        return self._sureness[1]

    def _notes(self, row: TrialRow) -> TrialNotes:
        searched = self._search.notes(row.number)
        first = self.study.search.seed + FIRST_SEED + self._begun().get(row.number, 0)
        taken = self._seeds(row.number)
        seed = next(seed for seed in count(first) if seed not in taken)
        return TrialNotes(
            searched.candidate_json, searched.id, seed, searched.epochs, searched.training, search_trial=row.number
        )

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        """Genes are those of the search's trial, which the row names."""
        return replace(super()._row(task, evaluation), trial=self.notes(task.number).search_trial)

    def _tell(self, evaluation: Evaluation, row: TrialRow) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(row.number, values, notes={ROW: row.to_json()})


def by_trial(rows: Sequence[TrialRow]) -> Repeated:
    """Rows of repeats that may stand on a front, by the number of their search trial."""
    found: dict[int, list[TrialRow]] = {}
    for row in standing(rows):
        found.setdefault(row.shown, []).append(row)
    return found


def most_ambiguous(rows: Sequence[TrialRow], probabilities: Sequence[float], seeds: Sequence[int]) -> TrialRow | None:
    """The row of which one more seed tells most; None where every place is sure enough.

    A place is a coin of variance p (1 - p), and one seed more than k takes 1 / k - 1 / (k + 1) off the variance of a
    mean: their product decides, the earliest trial among equals.
    """
    low, high = AMBIGUOUS
    worth = {i: p * (1 - p) / (k * (k + 1)) for i, (p, k) in enumerate(zip(probabilities, seeds, strict=True))}
    able = [i for i in worth if low < probabilities[i] < high]
    return rows[max(able, key=lambda i: (worth[i], -rows[i].number))] if able else None
