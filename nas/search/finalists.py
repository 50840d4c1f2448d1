"""Finalists: the search's front, each member trained again at full budget, and only then scored on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nas.candidates.hyperparameters import suffix_of
from nas.errors import InputError
from nas.front import beyond_all, front_subset, fronts
from nas.records import QUALITIES, Evaluation, Phase
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, TrialNotes, TrialRow
from nas.runtimes.runtime import runtime_of
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.journal import Journal
from nas.search.search import Search
from nas.search.standing import points_of, standing
from nas.search.sureness import NO_REPEATS, Repeated, averaged
from nas.study import Study
from nas.tasks import Task

SEATS_WITH_A_SLOW_STARTER = 3  # of two finalists both would be large


class Finalists(Driver):
    """Members of the search's front, as many as the study asks for, each trained at full budget with a new seed."""

    phase: Phase = "final"
    reads_test = True

    def __init__(self, study: Study, folder: RunFolder, *, beside: Journal | None = None) -> None:
        super().__init__(study, folder, f"{study.name}/final", ["maximize"], beside=beside)

    def choose(self, search: Search, repeats: Repeated = NO_REPEATS) -> None:
        """Enqueue the finalists that are not there yet, chosen by means over seeds where there are `repeats`."""
        rows = search.rows()
        for row in finalists_of(averaged(rows, repeats), self.study):
            self.add(row.number, search.notes(row.number), rows)

    def add(self, trial: int, searched: TrialNotes, rows: Sequence[TrialRow]) -> int:
        """Enqueue a search trial's candidate, unless it is there with the same recipe; returns its number here.

        `rows` are the search's: one of them may be the teacher's. Raises InputError where it cannot teach.
        """
        if (known := self.find(trial, searched)) is not None:
            return known
        notes, teacher = self._notes(searched, trial), self.study.finals.teacher
        if isinstance(teacher, int):
            notes = replace(notes, teacher=self.artifact_of(teacher, rows))
        number = self.journal.enqueue(notes.to_json())
        self._waiting.append(self._task(number))
        return number

    def find(self, trial: int, searched: TrialNotes) -> int | None:
        """The number here of this candidate with this recipe, of retries the last; None where it is not there."""
        return self.trained_as(self._notes(searched, trial))

    def trained_as(self, notes: TrialNotes) -> int | None:
        """The number here, of retries the last, of this candidate with all settings of its training; None without."""
        numbers = reversed(range(len(self.journal.trials())))
        return next((number for number in numbers if _identity(self.notes(number)) == _identity(notes)), None)

    def only(self, number: int) -> None:
        """Leave every other unfinished finalist for later."""
        self._waiting = [task for task in self._waiting if task.number == number]

    def artifact_of(self, trial: int, rows: Sequence[TrialRow]) -> str:
        """The artifact of a trial that teaches: its most accurate finalist's, or else the search's own."""
        own = teaching(trial, rows)
        finals = [row for row in standing(self.rows()) if row.shown == trial]
        artifact = max(finals, key=lambda row: row.value("accuracy"), default=own).artifact
        name = runtime_of(self.study.target).file_name
        if not (self.folder.path / artifact / name).exists():
            raise InputError(f"finals.teacher: trial {trial} has no {name} any more, got artifacts.keep: front")
        return artifact

    def _notes(self, searched: TrialNotes, search_trial: int) -> TrialNotes:
        """The finals' numbers stand above those that were searched."""
        recipe = self.study.finals.changes()
        still_searched = self.study.training_by(recipe).searched
        return TrialNotes(
            searched.candidate_json,
            searched.id,
            self.study.search.seed + 1,
            self.study.final_epochs,
            {name: number for name, number in searched.training.items() if name in still_searched},
            search_trial=search_trial,
            recipe=recipe,
        )

    @property
    def unfinished(self) -> bool:
        """Whether any is yet to be trained."""
        return bool(self._waiting)

    @property
    def waiting(self) -> list[Task]:
        """The longest first, so that no place is idle while the last one trains."""
        return sorted(self._waiting, key=training_work, reverse=True)

    def propose(self) -> Task | Wait | Done:
        if self._waiting:
            task = self.waiting[0]
            self._waiting.remove(task)
            return self._start(task)
        return WAIT if self._running else Done()

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        """Genes are those of the search's trial, which the row names."""
        return replace(super()._row(task, evaluation), trial=self.notes(task.number).search_trial)

    def _tell(self, evaluation: Evaluation, row: TrialRow) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(row.number, values, notes={ROW: row.to_json()})


def training_work(task: Task) -> int:
    """MACs per image of all epochs, by which trainings are put in order; every layer counts, pruned or not."""
    return task.epochs * sum(layer.macs for layer in task.candidate.architecture.layers(1))


def teaching(trial: int, rows: Sequence[TrialRow]) -> TrialRow:
    """The row of the search trial that `finals.teacher` names. Raises InputError where it is not complete."""
    found = next((row for row in standing(rows) if row.number == trial), None)
    if found is None:
        raise InputError(f"finals.teacher: expected a complete trial of this run, got {trial}")
    return found


def _identity(notes: TrialNotes) -> tuple[str, str]:
    """What makes two finalists the same: the candidate and all settings of its training."""
    return notes.id, suffix_of(notes.settings)


def finalists_of(rows: Sequence[TrialRow], study: Study) -> list[TrialRow]:
    """The finalists out of the search's front: the best in each quality, then greedily by hypervolume.

    Where the front is smaller, the next one (of what is left without it) fills up: accuracies are noisy. The second
    seat is the slow starter's, where there is one and seats enough for what is small and fast.
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
    slow = slow_starter(candidates, study) if wanted >= SEATS_WITH_A_SLOW_STARTER else None
    if slow is not None and slow not in chosen[:wanted]:
        chosen.insert(1, slow)
    return [candidates[i] for i in chosen[:wanted]]


def slow_starter(rows: Sequence[TrialRow], study: Study) -> int | None:
    """The row of most MACs among those within one standard error of the most accurate; None where that is it.

    Only where trials are trained on less than finalists: large networks learn longer, so that one which cannot be told
    from the best early on is likely to be better in the end, and yet no front holds it.
    """
    if not set(study.objectives) & set(QUALITIES) or study.trials_train_fully:
        return None
    accuracies = [row.value("accuracy") for row in rows]
    best = max(range(len(rows)), key=accuracies.__getitem__)
    least = accuracies[best] - (rows[best].accuracy_se or 0.0)
    able = [i for i, accuracy in enumerate(accuracies) if accuracy >= least]
    largest = max(able, key=lambda i: rows[i].value("macs"))
    return None if largest == best else largest
