"""The baseline as a driver: what is trained when, what survives a restart, and what changes with the study."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import NUMBERS, drive, evaluated, finish, make_study, task_of

from nas.candidates.baseline import baseline_candidate, quantized_baseline
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import TrialNotes, TrialRow
from nas.search.driver import WAIT, Done
from nas.search.finalists import Finalists
from nas.search.references import References, baseline_recipe
from nas.search.upkeep import write_references
from nas.study import Study
from nas.tasks import Task


def study_of(**changes: Any) -> Study:
    """With search trials of 2 epochs of 8; `changes` are those of whole sections."""
    return make_study(epochs=2, seed=4, finalists=changes.pop("finalists", 3)).model_copy(
        update={name: type(getattr(make_study(), name)).model_validate(value) for name, value in changes.items()}
    )


def chosen(study: Study, folder: RunFolder) -> References:
    references = References(study, folder)
    references.choose()
    return references


def named(rows: list[TrialRow]) -> list[tuple[str | None, str]]:
    return [(row.reference, row.state) for row in rows]


def test_it_is_trained_as_a_finalist_and_then_quantized(folder: RunFolder) -> None:
    study = study_of()
    references = chosen(study, folder)
    assert references.total == 2
    first = task_of(references)
    assert (first.candidate, first.phase, first.seed, first.epochs) == (baseline_candidate(study), "reference", 5, 8)
    assert (first.reads_test, first.is_constrained, first.made_from) == (True, False, None)
    assert references.propose() is WAIT  # nothing can be quantized yet
    finish(references, first)
    second = task_of(references)
    assert (second.candidate, second.made_from) == (quantized_baseline(study), first.folder)
    assert second.folder != first.folder
    finish(references, second)
    assert references.propose() == Done()
    assert named(references.rows()) == [("baseline fp32", "COMPLETE"), ("baseline int8", "COMPLETE")]
    assert [row.label for row in references.rows()] == ["baseline fp32", "baseline int8"]
    assert not references.unfinished


def test_a_restart_goes_on_with_what_is_left(folder: RunFolder) -> None:
    study = study_of()
    first = task_of(chosen(study, folder))  # and the driver dies
    again = chosen(study, folder)
    second = task_of(again)
    assert (second.candidate.id, second.number, second.attempt) == (first.candidate.id, first.number, 2)
    write_evaluation(second.folder, evaluated(second, study))  # and the driver dies before it hears of it
    last = chosen(study, folder)
    quantized = task_of(last)
    assert quantized.made_from == first.folder
    finish(last, quantized)
    assert chosen(study, folder).propose() == Done()
    assert len(References(study, folder).journal.trials()) == 2


def test_one_that_fails_leaves_the_other_out(folder: RunFolder) -> None:
    references = chosen(study_of(), folder)
    finish(references, task_of(references), State.FAILED, reason="diverged")
    assert references.propose() == Done()
    assert references.total == 1
    assert named(references.rows()) == [("baseline fp32", "FAILED")]
    again = chosen(study_of(), folder)
    assert (again.propose(), len(again.journal.trials())) == (Done(), 1)  # a retry is for the user to ask for


def test_without_a_baseline_nothing_is_trained_or_shown(folder: RunFolder) -> None:
    none = study_of().model_copy(update={"baseline": False})
    references = chosen(none, folder)
    assert (references.propose(), references.total, references.rows()) == (Done(), 0, [])
    write_references(references)
    assert not folder.references.exists()
    drive(chosen(study_of(), folder))
    write_references(References(study_of(), folder))
    assert len(folder.references.read_text().splitlines()) == 3
    left_out = chosen(none, folder)
    assert (left_out.propose(), left_out.rows()) == (Done(), [])
    write_references(left_out)
    assert len(folder.references.read_text().splitlines()) == 1


def test_one_that_was_begun_is_left_where_the_study_no_longer_asks_for_it(folder: RunFolder) -> None:
    task_of(chosen(study_of(), folder))
    left_out = chosen(study_of().model_copy(update={"baseline": False}), folder)
    assert (left_out.waiting, left_out.unfinished, left_out.propose()) == ([], False, Done())


def test_another_recipe_of_the_finalists_is_another_baseline(folder: RunFolder) -> None:
    drive(chosen(study_of(), folder))
    longer = study_of(finals={"epochs": 9, "teacher": "self", "label_smoothing": 0.1})
    references = chosen(longer, folder)
    assert references.rows() == []
    task = task_of(references)
    assert (task.epochs, task.number) == (9, 2)
    assert task.recipe == {"epochs": 9, "label_smoothing": 0.1}  # labels alone
    assert task.folder.name.startswith("reference-5-t")
    finish(references, task)
    quantized = task_of(references)
    assert quantized.made_from == task.folder
    finish(references, quantized)
    assert [row.epochs for row in references.rows()] == [9, 9]
    assert [row.epochs for row in References(study_of(), folder).rows()] == [8, 8]


def test_one_begun_by_another_recipe_is_not_gone_on_with(folder: RunFolder) -> None:
    task_of(chosen(study_of(), folder))
    references = chosen(study_of(finals={"epochs": 9}), folder)
    assert task_of(references).epochs == 9
    assert references.propose() is WAIT


@pytest.mark.parametrize(("images", "recipe"), [(None, {"epochs": 2}), (50, {"epochs": 2, "train_images": 50})])
def test_without_finalists_it_is_trained_as_the_search_is(
    folder: RunFolder, images: int | None, recipe: dict[str, int]
) -> None:
    study = make_study(epochs=2, finalists=0, train_images=images)
    task = task_of(chosen(study, folder))
    assert (task.epochs, task.reads_test, task.recipe) == (2, False, recipe)
    assert task.folder != task_of(chosen(study_of(), folder)).folder


def test_searched_numbers_are_the_middle_ones_unless_finalists_have_their_own(folder: RunFolder) -> None:
    searched = make_study(training=NUMBERS, finalists=1)
    task = task_of(chosen(searched, folder))
    assert task.training == {"learning_rate": pytest.approx(0.1), "mixup": 0.0}
    fixed = searched.model_copy(update={"finals": type(searched.finals)(mixup=0.3)})
    other = task_of(chosen(fixed, folder))
    assert (other.training, other.recipe) == ({"learning_rate": pytest.approx(0.1)}, {"mixup": 0.3})


def test_no_teacher_is_part_of_it() -> None:
    taught = make_study(training={"distillation": {"teacher": "reference"}})
    assert baseline_recipe(taught) == {"teacher": "none"}
    assert taught.training_by(baseline_recipe(taught)).distillation is None
    assert baseline_recipe(make_study()) == {}


def test_a_worker_that_dies_three_times_over_it_costs_the_run_nothing(folder: RunFolder) -> None:
    references = chosen(study_of(), folder)
    for _ in range(3):
        task: Task = task_of(references)
        references.died(task, "worker killed by signal 9")
    assert named(references.rows()) == [("baseline fp32", "FAILED")]
    assert references.propose() == Done()


def beside_finalists(study: Study, folder: RunFolder) -> tuple[Finalists, References]:
    """The baseline's network is a finalist too, as it may be of an existing network."""
    finalists = Finalists(study, folder)
    finalists.add(0, TrialNotes.of(baseline_candidate(study), seed=4, epochs=2, training={}), [])
    references = References(study, folder, finalists=finalists)
    references.choose()
    return finalists, references


def test_a_baseline_among_the_finalists_is_trained_once(folder: RunFolder) -> None:
    study = study_of()
    finalists, references = beside_finalists(study, folder)
    assert references.propose() is WAIT  # until the finalist, which comes first, is trained
    task = task_of(finalists)
    assert references.propose() is WAIT
    write_atomically(task.folder / "weights.safetensors", b"weights")
    final = finish(finalists, task)
    quantized = task_of(references)
    assert (quantized.candidate, quantized.number) == (quantized_baseline(study), 1)
    (row,) = references.rows()
    assert (row.reference, row.accuracy, row.epochs) == ("baseline fp32", final.accuracy, 8)
    source = quantized.made_from
    assert source is not None
    assert source == folder.path / row.artifact != task.folder
    assert (source / "weights.safetensors").read_bytes() == b"weights"
    taken, own = read_evaluation(source), read_evaluation(task.folder)
    assert taken is not None
    assert own is not None
    assert (taken.phase, own.phase, taken.validation) == ("reference", "final", own.validation)
    finish(references, quantized)
    assert references.propose() == Done()


def test_a_finalist_that_ends_otherwise_is_no_baseline(folder: RunFolder) -> None:
    """It may have broken a limit before it was trained; the baseline has none."""
    finalists, references = beside_finalists(study_of(), folder)
    finish(finalists, task_of(finalists), State.INFEASIBLE)
    assert task_of(references).phase == "reference"


def test_a_finalist_that_is_taught_is_no_baseline(folder: RunFolder) -> None:
    taught = study_of(finals={"teacher": "self"})
    _, references = beside_finalists(taught, folder)
    assert task_of(references).phase == "reference"
