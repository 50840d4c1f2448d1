"""Repeats: which candidates are trained again, with which seeds, over restarts; finalists chosen by means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import by_hand
import pytest
from by_hand import drive, evaluated, finish, make_study, task_of
from hypothesis import given
from hypothesis import strategies as st

import nas.search.repeats
from nas.records import State, score
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.driver import WAIT, Done
from nas.search.finalists import Finalists, finalists_of
from nas.search.repeats import Repeats, most_ambiguous
from nas.search.search import Search
from nas.search.sureness import Repeated, averaged, on_front, with_p_on_front, with_seeds
from nas.search.upkeep import write_repeats
from nas.tasks import Task


def row(number: int, accuracy: float | None, size: int = 10, **fields: object) -> TrialRow:
    known = {"accuracy_se": None if accuracy is None else (accuracy * (1 - accuracy) / 100) ** 0.5}
    return by_hand.row(number, accuracy, 1, size, **{**known, **fields})


def searched(folder: RunFolder, **search: object) -> Search:
    made = Search(make_study(**{"trials": 10, "finalists": 3, "seed": 4, "epochs": 3, **search}), folder)
    drive(made)
    return made


probabilities = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4)), max_size=8)


@given(probabilities)
def test_the_most_ambiguous_place(told: list[tuple[float, int]]) -> None:
    rows = [row(i, 0.5) for i in range(len(told))]
    chosen = most_ambiguous(rows, [p for p, _ in told], [k for _, k in told])
    able = [i for i, (p, _) in enumerate(told) if 0.05 < p < 0.95]
    if chosen is None:
        assert not able
        return
    # What one more seed takes off the variance of the mean, weighed by how open the place is.
    worth = [p * (1 - p) * (1 / k - 1 / (k + 1)) for p, k in told]
    assert chosen.number in able
    assert worth[chosen.number] == pytest.approx(max(worth[i] for i in able))


def test_a_sure_place_is_not_trained_again_and_few_seeds_come_first() -> None:
    rows = [row(0, 0.5), row(1, 0.6), row(2, 0.7)]
    assert most_ambiguous(rows, [0.99, 0.0, 1.0], [1, 1, 1]) is None
    assert most_ambiguous(rows, [0.5, 0.4, 0.99], [1, 1, 1]) == rows[0]
    assert most_ambiguous(rows, [0.5, 0.4, 0.99], [2, 1, 1]) == rows[1]
    assert most_ambiguous(rows, [0.5, 0.5, 0.5], [1, 1, 1]) == rows[0]


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 1), (0.29, 2), (0.5, 5)])
def test_the_share_is_of_complete_trials(folder: RunFolder, share: float, count: int) -> None:
    search = searched(folder, repeat_share=share)
    repeats = Repeats(search)
    assert repeats.unfinished == (count > 0)
    drive(repeats)
    assert len(repeats.rows()) == count
    assert not repeats.unfinished


def test_a_repeat_is_the_candidate_with_another_seed_and_no_constraint(folder: RunFolder) -> None:
    search = searched(folder, repeat_share=0.1)
    repeats = Repeats(search)
    task = task_of(repeats)
    assert (task.phase, task.seed, task.epochs, task.is_constrained, task.reads_test) == ("repeat", 6, 3, False, False)
    assert task.folder.name == "repeat-6"
    told = finish(repeats, task)
    assert told.trial is not None
    original = search.rows()[told.trial]
    assert (told.id, told.seed, told.epochs) == (original.id, 6, 3)
    assert [r.number for r in repeats.by_trial()[told.trial]] == [0]


def test_two_repeats_of_one_candidate_have_two_seeds_and_neither_is_the_finalists(folder: RunFolder) -> None:
    search = searched(folder, trials=2, repeat_share=1.0)
    repeats = Repeats(search)
    while isinstance(task := repeats.propose(), Task):
        assert task.seed >= search.study.search.seed + 2
        finish(repeats, task)
    seeds = [(r.id, r.seed) for r in repeats.rows()]
    assert len(set(seeds)) == len(seeds)


def test_while_some_run_their_candidates_count_as_begun(folder: RunFolder) -> None:
    search = searched(folder, repeat_share=0.3)
    repeats = Repeats(search)
    tasks = [task_of(repeats) for _ in range(3)]
    assert len({task.folder for task in tasks}) == 3
    assert repeats.propose() is WAIT
    for task in tasks:
        finish(repeats, task)
    assert repeats.propose() == Done()


def test_how_sure_places_are_is_worked_out_once_per_result(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop asks several times a second while one repeat runs and no other is worth it."""
    search, worked_out = searched(folder, repeat_share=1.0), list[int]()

    def counted(rows: Sequence[TrialRow], objectives: Sequence[str], repeats: Repeated, *, seed: int) -> list[float]:
        worked_out.append(len(repeats))
        return on_front(rows, objectives, repeats, seed=seed)

    monkeypatch.setattr(nas.search.repeats, "on_front", counted)
    repeats = Repeats(search)
    first = task_of(repeats)
    task_of(repeats)
    assert worked_out == [0]
    finish(repeats, first)
    repeats.propose()
    repeats.propose()
    assert worked_out == [0, 1]


def test_repeats_survive_restarts(folder: RunFolder) -> None:
    search = searched(folder, repeat_share=0.4)
    repeats = Repeats(search)
    finish(repeats, task_of(repeats))
    second = task_of(repeats)
    write_evaluation(second.folder, evaluated(second, search.study))  # and the driver dies before it hears of it
    third = task_of(repeats)  # and this one is left unfinished
    again = Repeats(Search(search.study, folder))
    assert [r.seed for r in again.rows()] == [r.seed for r in again.rows()]
    assert len(again.rows()) == 2
    resumed = task_of(again)
    assert (resumed.number, resumed.candidate, resumed.seed) == (third.number, third.candidate, third.seed)
    finish(again, resumed)
    drive(again)
    assert len(again.rows()) == 4


def test_a_failed_repeat_is_spent_and_says_nothing(folder: RunFolder) -> None:
    search = searched(folder, repeat_share=0.1)
    repeats = Repeats(search)
    finish(repeats, task_of(repeats), State.FAILED)
    assert repeats.propose() == Done()
    assert not repeats.by_trial()
    assert averaged(search.rows(), repeats.by_trial()) == search.rows()


def test_means_and_their_errors() -> None:
    rows = [row(0, 0.9, 30), row(1, 0.8, 20), row(2, None, 5, state="INFEASIBLE"), row(3, 0.7, state="DUPLICATE")]
    again = {0: [row(0, 0.7, 30, trial=0)]}
    first, second, *others = averaged(rows, again)
    assert first.accuracy == pytest.approx(0.8)
    between = (0.9 - 0.7) ** 2 / 2
    assert first.accuracy_se == pytest.approx((0.09 / 100 + between / 2) ** 0.5)
    assert (second.accuracy, second.accuracy_se) == (0.8, pytest.approx((0.16 / 100 + between) ** 0.5))
    assert others == rows[2:]
    assert averaged(rows, {}) == rows


def test_shown_beside_a_front() -> None:
    rows = [row(0, 0.9, 30), row(1, 0.8, 20)]
    again = {0: [row(0, 0.7, 30, trial=0), row(1, 0.5, 30, trial=0)]}
    first, second = with_seeds(rows, again)
    assert (first.seeds, first.mean_accuracy, first.accuracy) == (3, pytest.approx(0.7), 0.9)
    assert (second.seeds, second.mean_accuracy) == (None, None)
    (finalist,) = with_seeds([row(0, 0.95, trial=0, search_accuracy=0.9)], again)
    assert (finalist.seeds, finalist.mean_accuracy) == (3, pytest.approx(0.7))


def test_only_what_may_stand_has_a_probability() -> None:
    rows = [row(0, 0.9, 30), row(1, 0.9, 20), row(2, None, 5, state="INFEASIBLE"), row(3, 1.0, 1, flags=("parity",))]
    objectives = ("accuracy", "size_bytes")
    first, second, *others = with_p_on_front(rows, objectives, seed=0)
    assert first.p_on_front == pytest.approx(0.5, abs=0.03)
    assert second.p_on_front == 1
    assert [other.p_on_front for other in others] == [None, None]
    assert on_front([], objectives, seed=0) == []


def test_the_lucky_one_is_no_finalist(folder: RunFolder) -> None:
    """Two of one size: the search prefers the one whose first seed was lucky, means the other."""
    study = make_study(finalists=1).model_copy(update={"objectives": ("accuracy", "size_bytes")})
    rows = [row(0, 0.9), row(1, 0.85)]
    again = {0: [row(0, 0.7, trial=0)]}
    assert [r.number for r in finalists_of(rows, study)] == [0]
    assert [r.number for r in finalists_of(averaged(rows, again), study)] == [1]


def test_finalists_are_chosen_by_means(folder: RunFolder) -> None:
    study = make_study(trials=6, finalists=1, repeat_share=1.0)
    study = study.model_copy(update={"objectives": ("accuracy",)})
    search = Search(study, folder)
    while isinstance(task := search.propose(), Task):
        finish(search, task, validation=score(90 - task.number, 100))
    repeats = Repeats(search)
    while isinstance(task := repeats.propose(), Task):
        # The first was lucky, by far; the others repeat what they had.
        trial = repeats.notes(task.number).search_trial
        assert trial is not None
        finish(repeats, task, validation=score(10 if trial == 0 else 90 - trial, 100))
    finalists = Finalists(study, folder)
    finalists.choose(search, repeats.by_trial())
    assert task_of(finalists).candidate.id == search.rows()[1].id


def test_the_table_and_the_files(folder: RunFolder, tmp_path: Path) -> None:
    search = searched(folder, repeat_share=0.2)
    repeats = Repeats(search)
    write_repeats(repeats)
    assert not folder.repeats.exists()
    drive(repeats)
    for told in repeats.rows():
        (folder.path / told.artifact / "model.onnx").write_text("x")
    write_repeats(repeats)
    table = by_hand.read(folder, "repeats")
    assert [(int(r["trial"]), r["id"], r["state"]) for r in table] == [
        (r.trial, r.id, "COMPLETE") for r in repeats.rows()
    ]
    assert all((folder.path / r["artifact"] / "model.onnx").exists() for r in table)
    keeping = search.study.model_copy(update={"artifacts": search.study.artifacts.model_copy(update={"keep": "front"})})
    write_repeats(Repeats(Search(keeping, folder)))
    assert not any((folder.path / r["artifact"] / "model.onnx").exists() for r in table)
    assert all((folder.path / r["artifact"] / "evaluation.json").exists() for r in table)
