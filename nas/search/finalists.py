"""Finalists: the search's front, each member trained anew at full budget, and only then scored on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.candidates.candidate import Candidate
from nas.objectives import as_minimised, may_stand
from nas.pareto import hypervolume_subset, non_dominated
from nas.records import QUALITIES, Evaluation, Phase
from nas.run_folder.paths import RunFolder
from nas.search.driver import WAIT, Done, Driver, Wait, identity_of
from nas.search.journal import RecordedTrial
from nas.search.search import Search
from nas.study import Study
from nas.tasks import Task


class Finalists(Driver):
    """The front of the search, thinned, each member trained anew at full budget with a seed of its own."""

    phase: Phase = "final"
    reads_test = True

    def __init__(self, study: Study, folder: RunFolder) -> None:
        super().__init__(study, folder, f"{study.name}/final", ["maximize"])

    def choose(self, search: Search) -> None:
        """Enqueue the finalists that are not there yet."""
        known = {identity_of(trial.user_attrs) for trial in self.journal.trials()}
        for row in finalists_of(search.rows(), self.study):
            searched = search.journal.trials()[row["number"]].user_attrs
            if identity_of(searched) not in known:
                candidate, numbers = Candidate.from_json(searched["candidate"]), searched.get("training", {})
                notes = self._notes(candidate, numbers, self.study.search.seed + 1, self.study.training.epochs)
                number = self.journal.enqueue({**notes, "search_trial": row["number"]})
                self._waiting.append(self._task(self.journal.trials()[number]))

    @property
    def unfinished(self) -> bool:
        """Whether any is yet to be trained."""
        return bool(self._waiting)

    def propose(self) -> Task | Wait | Done:
        if self._waiting:
            return self._start(self._waiting.pop(0))
        return WAIT if self._running else Done()

    def _row(self, trial: RecordedTrial, evaluation: Evaluation) -> dict[str, Any]:
        return {**super()._row(trial, evaluation), "trial": trial.user_attrs["search_trial"]}

    def _tell(self, number: int, evaluation: Evaluation, row: Mapping[str, Any]) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(number, values, {}, {"row": dict(row)})


def finalists_of(rows: list[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """The search's front, thinned to the number of finalists: the best in each quality, then greedily by hypervolume.

    Volume alone leaves out the most accurate networks where there are few finalists: short training presses qualities
    together, and costs then make the volume. Where the front is smaller, the next one (of what is left without it)
    fills up: accuracies are noisy. The second seat is the slow starter's, where there is one.
    """
    candidates = [row for row in rows if may_stand(row)]
    if not candidates:
        return []
    points = np.array([[as_minimised(name, row[name]) for name in study.objectives] for row in candidates])
    # A little beyond the worst, so that the extremes of every objective count as well.
    reference = points.max(axis=0) + 0.05 * np.maximum(np.ptp(points, axis=0), 1e-9)
    qualities = [column for column, name in enumerate(study.objectives) if name in QUALITIES]
    left, chosen = np.arange(len(points)), list[int]()
    while len(left) and len(chosen) < study.search.finalists:
        front = left[non_dominated(points[left])]
        best = dict.fromkeys(int(points[front, column].argmin()) for column in qualities)
        wanted = study.search.finalists - len(chosen)
        chosen += [int(front[i]) for i in hypervolume_subset(points[front], reference, wanted, first=list(best))]
        left = np.setdiff1d(left, front)
    slow = slow_starter(candidates, study)
    if slow is not None and slow not in chosen[: study.search.finalists]:
        chosen.insert(1, slow)
    return [candidates[i] for i in chosen[: study.search.finalists]]


def slow_starter(rows: Sequence[Mapping[str, Any]], study: Study) -> int | None:
    """The row of most MACs among those within one standard error of the most accurate; None where that is it.

    Only where trials are trained shorter than finalists: large networks learn longer, so that one which cannot be told
    from the best early on is likely to be better in the end, and yet no front holds it.
    """
    if not set(study.objectives) & set(QUALITIES) or study.search_epochs >= study.training.epochs:
        return None
    best = max(range(len(rows)), key=lambda i: float(rows[i]["accuracy"]))
    least = rows[best]["accuracy"] - rows[best]["accuracy_se"]
    able = [i for i, row in enumerate(rows) if row["accuracy"] >= least]
    largest = max(able, key=lambda i: float(rows[i]["macs"]))
    return None if largest == best else largest
