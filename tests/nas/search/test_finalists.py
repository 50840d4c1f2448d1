"""Who becomes a finalist, and that finalists survive restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from by_hand import drive, evaluated, finish, make_study, row, task_of
from hypothesis import given
from hypothesis import strategies as st

from nas.run_folder.paths import RunFolder, write_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.driver import Done
from nas.search.finalists import Finalists, finalists_of, slow_starter, training_work
from nas.search.search import Search
from nas.search.standing import front_of
from nas.study import Study
from nas.tasks import Task

values = st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.integers(1, 6), st.integers(1, 6))


@given(
    st.lists(st.tuples(values, st.sampled_from(["COMPLETE", "INFEASIBLE", "DUPLICATE"]), st.booleans()), max_size=12),
    st.integers(0, 5),
)
def test_finalists_and_front(told: list[tuple[tuple[float, int, int], str, bool]], wanted: int) -> None:
    study = make_study(finalists=wanted)
    rows = [
        row(i, *point, state=state, flags=("parity",) if broken else ())
        for i, (point, state, broken) in enumerate(told)
    ]
    may = [r for r in rows if r.state == "COMPLETE" and not r.flags]

    def better(a: TrialRow, b: TrialRow) -> bool:
        pairs = [
            (-a.value("accuracy"), -b.value("accuracy")),
            *((a.value(c), b.value(c)) for c in ("parameters", "size_bytes")),
        ]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    def front_among(some: list[TrialRow]) -> list[int]:
        return [r.number for r in some if not any(better(other, r) for other in some)]

    chosen = [r.number for r in finalists_of(rows, study)]
    assert len(chosen) == len(set(chosen)) == min(wanted, len(may))
    left = may
    while chosen:  # front after front, until there are enough
        layer = front_among(left)
        head, chosen = chosen[: len(layer)], chosen[len(layer) :]
        assert set(head) <= set(layer)
        left = [r for r in left if r.number not in layer]
    front, shown = front_among(may), front_of(rows, study.objectives)
    assert sorted(r.number for r in shown) == front
    accuracies = [r.accuracy for r in shown]
    assert accuracies == sorted(accuracies, reverse=True)


def test_finalists_follow_the_studys_objectives() -> None:
    rows = [row(0, 0.9, 10, 10), row(1, 0.71, 20, 9), row(2, 0.7, 21, 1)]
    three, two = make_study(finalists=2), ("accuracy", "parameters")
    assert {r.number for r in front_of(rows, three.objectives)} == {0, 1, 2}
    assert [r.number for r in front_of(rows, two)] == [0]
    # Without bytes the second is the next best; with them the third, which is hardly worse, makes more volume.
    assert [r.number for r in finalists_of(rows, three)] == [0, 2]
    assert [r.number for r in finalists_of(rows, three.model_copy(update={"objectives": two}))] == [0, 1]


def test_the_most_accurate_is_always_a_finalist() -> None:
    # By volume alone the balanced one comes first.
    rows = [row(0, 0.80, 10, 10), row(1, 0.88, 20, 20), row(2, 0.90, 1000, 1000)]
    assert [r.number for r in finalists_of(rows, make_study(finalists=1))] == [2]
    assert [r.number for r in finalists_of(rows, make_study(finalists=2))] == [2, 1]


def test_a_large_network_that_is_about_as_accurate_after_short_training_is_a_finalist() -> None:
    def of(number: int, accuracy: float, cost: int) -> TrialRow:
        return row(number, accuracy, cost, cost, accuracy_se=0.02, macs=cost)

    rows = [of(0, 0.80, 10), of(1, 0.88, 20), of(2, 0.90, 40), of(3, 0.881, 80), of(4, 0.879, 160)]
    short = {"epochs": 2}
    assert [r.number for r in finalists_of(rows, make_study(finalists=3, **short))] == [2, 3, 1]
    assert [r.number for r in finalists_of(rows, make_study(finalists=1, **short))] == [2]
    assert [r.number for r in finalists_of(rows, make_study(finalists=2, **short))] == [2, 1]  # no seat to give away
    assert [r.number for r in finalists_of(rows[:3], make_study(finalists=2, **short))] == [2, 1]
    assert 3 not in [r.number for r in finalists_of(rows, make_study(finalists=3))]
    # The standard error is accuracy's; another quality has none of its own.
    unbalanced = [replace(r, macro_f1=1 - r.value("accuracy")) for r in rows]
    assert slow_starter(unbalanced, make_study(**short).model_copy(update={"objectives": ("macro_f1",)})) == 3


def test_finalists_are_trained_again_and_survive_restarts(folder: RunFolder) -> None:
    study = make_study(trials=8, finalists=3, seed=4, epochs=2)
    search = Search(study, folder)
    drive(search)
    expected = [r.number for r in finalists_of(search.rows(), study)]
    candidates = {number: search.notes(number).candidate for number in expected}
    finalists = Finalists(study, folder)
    finalists.choose(search)
    first = task_of(finalists)
    assert (first.phase, first.seed, first.epochs) == ("final", 5, 8)
    assert first.folder.name == "final-5"
    finish(finalists, first)
    second = task_of(finalists)
    write_evaluation(second.folder, evaluated(second, study))  # and the driver dies before it hears of it
    again = Finalists(study, folder)
    again.choose(search)
    work = {number: training_work(replace(first, candidate=one)) for number, one in candidates.items()}
    longest = sorted(expected, key=lambda number: -work[number])
    assert len(set(work.values())) == len(work)
    assert {r.trial for r in again.rows()} == set(longest[:2])
    drive(again)
    assert [r.trial for r in again.rows()] == expected
    assert [r.id for r in again.rows()] == [search.rows()[number].id for number in expected]
    finished = Finalists(study, folder)
    finished.choose(search)
    assert finished.propose() == Done()
    assert len(finished.journal.trials()) == len(expected)


def with_finals(study: Study, **finals: Any) -> Study:
    return Study.model_validate({**study.model_dump(), "finals": finals})


def test_another_recipe_is_another_finalist(folder: RunFolder) -> None:
    """In a folder of its own; equal recipes have equal folders, and the search's numbers stay but for those given."""
    numbers = {"training": {"dropout": {"low": 0.1, "high": 0.2}, "ema": {"low": 0.1, "high": 0.2}}}
    study = make_study(trials=4, finalists=2, **numbers)
    search = Search(study, folder)
    drive(search)
    names = []
    for finals in ({}, {"epochs": 9}, {"epochs": 9, "dropout": 0.0}, {"epochs": 9}):
        finalists = Finalists(with_finals(study, **finals), folder)
        finalists.choose(search)
        before = len(finalists.rows())
        drive(finalists)
        names.append([row.artifact for row in finalists.rows()[before:]])
    assert [len(found) for found in names] == [2, 2, 2, 0]
    assert len({name for found in names for name in found}) == 6
    rows = finalists.rows()
    assert [row.trial for row in rows] == [rows[0].trial, rows[1].trial] * 3
    assert [row.recipe for row in rows[::2]] == [None, "epochs=9", "epochs=9 dropout=0.0"]
    assert [sorted(finalists.notes(number).training) for number in (0, 2, 4)] == [["dropout", "ema"]] * 2 + [["ema"]]
    assert [row.fidelity for row in rows] == [1.0] * 6


def test_a_task_says_how_it_is_trained(folder: RunFolder) -> None:
    study = make_study(trials=2, finalists=1, train_images=50, input_size=4, epochs=2)
    study = with_finals(study, epochs=9, train_images="all", batch_size=7)
    search = Search(study, folder)
    task = task_of(search)
    assert (task.recipe, task.train_size, task.images_in(study), task.epochs) == ({"train_images": 50}, 4, 50, 2)
    assert task.recipe_in(study) == study.training.resolved({})
    assert task.budget_in(study) == 8
    finish(search, task)
    drive(search)
    finalists = Finalists(study, folder)
    finalists.choose(search)
    task = task_of(finalists)
    assert (task.train_size, task.images_in(study), task.epochs, task.budget_in(study)) == (None, None, 9, 9)
    assert (task.recipe_in(study).batch_size, task.recipe_in(study).epochs) == (7, 9)
    assert Task.from_line(task.to_line()) == task


def test_whoever_sees_less_in_the_search_may_start_slowly() -> None:
    assert make_study().trials_train_fully
    for search in ({"epochs": 2}, {"train_images": 50}, {"input_size": 4}):
        assert not make_study(**search).trials_train_fully
    assert not with_finals(make_study(), epochs=9).trials_train_fully
    assert with_finals(make_study(train_images=50), train_images=50).trials_train_fully
