"""Finalists: the search's front, each member trained again at full budget, and only then scored on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nas.front import beyond_all, front_subset, fronts
from nas.records import QUALITIES, Evaluation, Phase
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, TrialNotes, TrialRow
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.search import Search
from nas.search.standing import points_of, standing
from nas.search.sureness import NO_REPEATS, Repeated, averaged
from nas.study import Study
from nas.tasks import Task


class Finalists(Driver):
    """Members of the search's front, as many as the study asks for, each trained at full budget with a new seed."""

    phase: Phase = "final"
    reads_test = True

    def __init__(self, study: Study, folder: RunFolder) -> None:
        super().__init__(study, folder, f"{study.name}/final", ["maximize"])

    def choose(self, search: Search, repeats: Repeated = NO_REPEATS) -> None:
        """Enqueue the finalists that are not there yet, chosen by means over seeds where there are `repeats`."""
        known = {TrialNotes.from_json(trial.user_attrs).identity for trial in self.journal.trials()}
        for row in finalists_of(averaged(search.rows(), repeats), self.study):
            searched = search.notes(row.number)
            if searched.identity not in known:
                number = self.journal.enqueue(self._notes(searched, row.number).to_json())
                self._waiting.append(self._task(number))

    def _notes(self, searched: TrialNotes, search_trial: int) -> TrialNotes:
        seed, epochs = self.study.search.seed + 1, self.study.training.epochs
        return TrialNotes(
            searched.candidate_json, searched.id, seed, epochs, searched.training, search_trial=search_trial
        )

    @property
    def unfinished(self) -> bool:
        """Whether any is yet to be trained."""
        return bool(self._waiting)

    def propose(self) -> Task | Wait | Done:
        if self._waiting:
            return self._start(self._waiting.pop(0))
        return WAIT if self._running else Done()

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        """Genes are those of the search's trial, which the row names."""
        return replace(super()._row(task, evaluation), trial=self.notes(task.number).search_trial)

    def _tell(self, evaluation: Evaluation, row: TrialRow) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(row.number, values, notes={ROW: row.to_json()})


def finalists_of(rows: Sequence[TrialRow], study: Study) -> list[TrialRow]:
    """The finalists out of the search's front: the best in each quality, then greedily by hypervolume.

    Where the front is smaller, the next one (of what is left without it) fills up: accuracies are noisy. The second
    seat is the slow starter's, where there is one.
    """
    candidates = standing(rows)
    if not candidates:
        return []
    points, wanted = points_of(candidates, study.objectives), study.search.finalists
    limit = beyond_all(points)
    chosen = list[int]()
    for front in fronts(points):
        seats = wanted - len(chosen)
        chosen += [int(front[i]) for i in front_subset(points[front], study.objectives, seats, reference_point=limit)]
        if len(chosen) >= wanted:
            break
    slow = slow_starter(candidates, study)
    if slow is not None and slow not in chosen[:wanted]:
        chosen.insert(1, slow)
    return [candidates[i] for i in chosen[:wanted]]


def slow_starter(rows: Sequence[TrialRow], study: Study) -> int | None:
    """The row of most MACs among those within one standard error of the most accurate; None where that is it.

    Only where trials are trained shorter than finalists: large networks learn longer, so that one which cannot be told
    from the best early on is likely to be better in the end, and yet no front holds it.
    """
    if not set(study.objectives) & set(QUALITIES) or study.search_epochs >= study.training.epochs:
        return None
    accuracies = [row.value("accuracy") for row in rows]
    best = max(range(len(rows)), key=accuracies.__getitem__)
    least = accuracies[best] - (rows[best].accuracy_se or 0.0)
    able = [i for i, accuracy in enumerate(accuracies) if accuracy >= least]
    largest = max(able, key=lambda i: rows[i].value("macs"))
    return None if largest == best else largest
