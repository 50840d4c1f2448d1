"""References: what the front is compared with, trained as finalists are, which no search has chosen.

They are one network twice: the baseline in float32, and its file as ONNX Runtime quantizes it. One that fails is told,
and the run goes on. A baseline that is among the finalists, as an existing network may be, is trained once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.candidates.baseline import baseline_candidate, quantized_baseline
from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import middle_numbers, suffix_of
from nas.records import Evaluation, Phase, State
from nas.run_folder.artifacts import EVALUATION_FILE
from nas.run_folder.linking import link_folder
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import ROW, TrialNotes, TrialRow, row_in
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.finalists import Finalists
from nas.search.journal import Journal, RecordedTrial
from nas.study import Study
from nas.study.finals import TEACHING
from nas.tasks import Task

FLOAT, INT8 = "baseline fp32", "baseline int8"


class References(Driver):
    """The study's baseline, where it has one, and what is made from its file once that is there.

    `finalists` are those that are driven beside it.
    """

    phase: Phase = "reference"
    is_constrained = False  # it is shown with its costs, whatever they are

    def __init__(
        self, study: Study, folder: RunFolder, *, beside: Journal | None = None, finalists: Finalists | None = None
    ) -> None:
        self._finalists = finalists
        self.reads_test = bool(study.search.finalists)  # as the front it is compared with
        super().__init__(study, folder, f"{study.name}/reference", ["maximize"], beside=beside)

    def choose(self) -> None:
        """Enqueue what is not there yet and can be made now: the quantized file, once there is one in float32."""
        asked = self._asked_for()
        self._waiting = [task for task in self._waiting if task.number in asked]  # not what was asked for before
        if not self.study.baseline:
            return
        if (source := self._latest(FLOAT)) is None:
            self._enqueue(FLOAT, baseline_candidate(self.study))
        elif self._is_complete(source) and self._latest(INT8) is None:
            self._enqueue(INT8, quantized_baseline(self.study))

    @property
    def unfinished(self) -> bool:
        """Whether any is yet to be trained or made."""
        return bool(self._waiting)

    @property
    def total(self) -> int:
        """How many there are to be, of those that are there or can still come."""
        source = self._latest(FLOAT)
        is_lost = source is not None and self._is_over(source) and not self._is_complete(source)
        return 0 if not self.study.baseline else 1 if is_lost else 2

    def propose(self) -> Task | Wait | Done:
        for task in self.waiting:
            twin = self._finalist_like(task)
            if twin is not None and not twin.state.is_finished():
                continue
            self._waiting.remove(task)
            row = None if twin is None else row_in(twin.user_attrs)
            source = None if row is None or row.state is not State.COMPLETE else self.folder.path / row.artifact
            if source is None or (evaluation := read_evaluation(source)) is None:
                return self._start(task)
            self.finish(task, _taken(evaluation, source, task))
            return self.propose()  # what is made from it may be waiting now
        return WAIT if self._running or self._waiting else Done()

    def _finalist_like(self, task: Task) -> RecordedTrial | None:
        """The finalist whose training is the task's; None where there is none."""
        if self._finalists is None or not self.reads_test or task.made_from is not None:
            return None
        number = self._finalists.trained_as(self.notes(task.number))
        return None if number is None else self._finalists.journal.trials()[number]

    def finish(self, task: Task, evaluation: Evaluation) -> TrialRow:
        row = super().finish(task, evaluation)
        self.choose()
        return row

    def rows(self) -> list[TrialRow]:
        """Of each reference the last attempt; none where the study asks for none."""
        asked = self._asked_for()
        return [row for row in super().rows() if row.number in asked]

    def _asked_for(self) -> list[int]:
        """The last trial of each reference that is asked for now, where it has one."""
        if not self.study.baseline:
            return []
        return [number for name in (FLOAT, INT8) if (number := self._latest(name)) is not None]

    def _latest(self, name: str) -> int | None:
        """The last trial of this name that is trained as is asked for now."""
        wanted = name, suffix_of(self._asked(name, baseline_candidate(self.study)).settings)
        for number in reversed(range(len(self.journal.trials()))):
            notes = self.notes(number)
            if (notes.reference, suffix_of(notes.settings)) == wanted:
                return number
        return None

    def _is_over(self, number: int) -> bool:
        return self.journal.trials()[number].state.is_finished()

    def _is_complete(self, number: int) -> bool:
        row = row_in(self.journal.trials()[number].user_attrs)
        return row is not None and row.state is State.COMPLETE

    def _enqueue(self, name: str, candidate: Candidate) -> None:
        number = self.journal.enqueue(self._asked(name, candidate).to_json())
        self._waiting.append(self._task(number))

    def _asked(self, name: str, candidate: Candidate) -> TrialNotes:
        """The notes of a reference as it is asked for now: the middle of every searched number, no teacher."""
        recipe = baseline_recipe(self.study)
        training = self.study.training_by(recipe)
        numbers, epochs = middle_numbers(training), training.epochs
        notes = TrialNotes.of(candidate, seed=self.study.search.seed + 1, epochs=epochs, training=numbers)
        return replace(notes, reference=name, recipe=recipe)

    def _task(self, number: int) -> Task:
        task = super()._task(number)
        if self.notes(number).reference != INT8:
            return task
        source, settings = baseline_candidate(self.study), self.notes(number).settings
        return replace(task, made_from=self.folder.artifact(source.id, self.phase, task.seed, settings))

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        return replace(super()._row(task, evaluation), reference=self.notes(task.number).reference)

    def _tell(self, evaluation: Evaluation, row: TrialRow) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(row.number, values, notes={ROW: row.to_json()})


def _taken(found: Evaluation, folder: Path, task: Task) -> Evaluation:
    """An evaluation, whose files are in `folder`, as that of another task by the same training."""
    evaluation = found.model_copy(update={"phase": task.phase})
    link_folder(folder, task.folder, without=(EVALUATION_FILE,))
    write_evaluation(task.folder, evaluation)  # last: it marks that all is there
    return evaluation


def baseline_recipe(study: Study) -> dict[str, Any]:
    """What differs from `training` for a reference, in keys of `finals`: as finalists have it, but for their teacher.

    Without finalists it is trained as long, and on as many images, as what it is compared with: the search's trials.
    """
    recipe = study.finals.changes() if study.search.finalists else dict(study.search_changes)
    if not study.search.finalists and study.search_epochs != study.training.epochs:
        recipe["epochs"] = study.search_epochs
    recipe = {key: value for key, value in recipe.items() if key not in TEACHING}
    return recipe | ({"teacher": "none"} if study.training.distillation is not None else {})
