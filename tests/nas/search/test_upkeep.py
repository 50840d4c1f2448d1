"""What a run folder needs after each trial: the point fixed once, files off the front gone, records never."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import by_hand
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.records import Score, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.search.finalists import Finalists, finalists_of
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.upkeep import Upkeep, bulky_files, with_reference_point, worth_keeping, write_front
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task


def make_study(*, keep: str = "all", objectives: tuple[str, ...] = ("accuracy", "size_bytes"), **search: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"preset": "8px"},
            "objectives": objectives,
            "search": {"population": 4, "sampler": "nsga2", "finalists": 1, **search},
            "artifacts": {"keep": keep},
        }
    )


def row(number: int, accuracy: float | None, size: int, **fields: Any) -> TrialRow:
    return by_hand.row(number, accuracy, 1, size, **{"artifact": f"artifacts/{number}/search-0", **fields})


class Told:
    """A search whose rows are given."""

    def __init__(self, study: Study, path: Path) -> None:
        self.study, self.folder, self.told = study, RunFolder(path), list[TrialRow]()

    def rows(self) -> list[TrialRow]:
        return self.told

    def add(self, row: TrialRow) -> None:
        folder = self.folder.path / row.artifact
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*bulky_files(self.study), "candidate.json", "evaluation.json"):
            (folder / name).write_text("x")
        self.told.append(row)

    def whole(self) -> list[int]:
        return [r.number for r in self.told if (self.folder.path / r.artifact / "model.onnx").exists()]


def test_files_off_the_front_go_and_records_stay(tmp_path: Path) -> None:
    told = Told(make_study(keep="front"), tmp_path)
    upkeep = Upkeep(told)  # type: ignore[arg-type]
    told.add(row(0, 0.5, 100))
    upkeep()
    assert told.whole() == [0]
    told.add(row(1, 0.6, 90))  # dominates 0
    told.add(row(2, 0.9, 200))
    told.add(row(3, None, 10, state=State.INFEASIBLE))
    told.add(row(4, 0.99, 1, flags=("parity",)))
    told.add(row(5, 0.6, 90, state=State.DUPLICATE, artifact="artifacts/1/search-0"))
    upkeep()
    assert told.whole() == [1, 2, 5]
    for number in (0, 3, 4):
        left = {file.name for file in (tmp_path / f"artifacts/{number}/search-0").iterdir()}
        assert left == {"candidate.json", "evaluation.json"}


def test_after_a_death_between_tell_and_trimming(tmp_path: Path) -> None:
    told = Told(make_study(keep="front"), tmp_path)
    told.add(row(0, 0.5, 100))
    told.add(row(1, 0.6, 90))
    Upkeep(told)()  # type: ignore[arg-type]
    assert told.whole() == [1]
    again = Upkeep(told)  # type: ignore[arg-type]
    again()
    told.add(row(2, 0.1, 300, state=State.FAILED))
    (tmp_path / "artifacts/0/search-0/model.onnx").write_text("a retry writes here")
    again()
    assert told.whole() == [0, 1], "what was trimmed is not looked at again: a retry may be at work there"
    told.add(row(3, 0.55, 95, artifact="artifacts/0/search-0"))
    again()
    assert told.whole() == [1], "the retry has ended"


def test_all_is_kept_by_default(tmp_path: Path) -> None:
    told = Told(make_study(), tmp_path)
    for number in range(4):
        told.add(row(number, 0.5 + number / 10, 100 - number))
    Upkeep(told)()  # type: ignore[arg-type]
    assert told.whole() == [0, 1, 2, 3]


points = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=14)


@given(points, st.integers(0, 6))
def test_kept_are_the_front_and_every_finalist(told: list[tuple[int, int]], finalists: int) -> None:
    study = make_study(finalists=finalists)
    rows = [row(i, accuracy / 5, size) for i, (accuracy, size) in enumerate(told)]
    kept = {r.number for r in worth_keeping(rows, study)}

    def better(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    front = {i for i, one in enumerate(told) if not any(better(other, one) for other in told)}
    assert front | {r.number for r in finalists_of(rows, study)} <= kept
    if finalists <= len(front):
        assert kept == front


def test_the_reference_point_is_fixed_at_the_first_generation_and_never_moved(tmp_path: Path) -> None:
    told = Told(make_study(), tmp_path)
    upkeep = Upkeep(told)  # type: ignore[arg-type]
    rows = [row(0, 0.5, 100), row(1, 0.4, 70), row(2, None, 900, state=State.INFEASIBLE), row(3, 0.8, 200)]
    for one in rows:
        told.add(one)
        upkeep()
    assert not told.folder.study.exists()
    told.add(row(4, 0.9, 150))
    upkeep()
    expected = {"accuracy": pytest.approx(0.4 / 1.1), "size_bytes": pytest.approx(220)}
    assert load_study(told.folder.study).report.hypervolume_reference == expected
    told.add(row(5, 0.1, 1000))
    upkeep()
    assert load_study(told.folder.study).report.hypervolume_reference == expected
    told.folder.study.unlink()
    Upkeep(told)()  # type: ignore[arg-type]
    assert load_study(told.folder.study).report.hypervolume_reference == expected, "a later driver fixes the same"


def test_a_given_reference_point_is_left_alone(tmp_path: Path) -> None:
    study = with_reference_point(make_study(), [row(0, 0.2, 50)])
    told = Told(study, tmp_path)
    for number in range(6):
        told.add(row(number, random.Random(number).random(), 10))
    Upkeep(told)()  # type: ignore[arg-type]
    assert not told.folder.study.exists()


def test_the_front_is_that_of_final_accuracies(folder: RunFolder) -> None:
    """The finalist that was best in the search ends worst at the same costs, so that it is on no front."""
    study = by_hand.make_study(trials=8, finalists=3)
    study = study.model_copy(update={"objectives": ("accuracy", "macro_f1")})  # no cost can keep anyone on the front
    search = Search(study, folder)
    while isinstance(task := search.propose(), Task):
        by_hand.finish(search, task, validation=scored(task.number))
    finalists = Finalists(study, folder)
    write_front(search, Repeats(search), finalists)
    (before,) = by_hand.read(folder, "front")
    assert before["accuracy"] == before["search_accuracy"]
    finalists.choose(search)
    while isinstance(task := finalists.propose(), Task):
        searched = finalists.notes(task.number).search_trial
        assert searched is not None
        by_hand.finish(finalists, task, validation=scored(20 - searched), test=scored(1))
    write_front(search, Repeats(search), finalists)
    rows, (member,) = by_hand.read(folder, "finalists"), by_hand.read(folder, "front")
    worst = min(rows, key=lambda one: float(one["search_accuracy"]))
    assert member["trial"] == worst["trial"] != before["trial"]
    assert {one["trial"]: float(one["search_accuracy"]) for one in rows} == {
        str(one.number): one.accuracy for one in search.rows() if str(one.number) in {r["trial"] for r in rows}
    }
    assert float(member["accuracy"]) == max(float(one["accuracy"]) for one in rows)


def scored(number: int) -> Score:
    return Score(accuracy=number / 100, se=0.01, images=100, macro_f1=number / 100)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=20), st.randoms())
def test_files_are_those_that_a_look_at_every_row_would_keep(
    figures: list[tuple[int, int]], order: random.Random
) -> None:
    """However rows come: what was not worth keeping once never is again, since its file is gone."""
    study = make_study(keep="front", finalists=3, population=100)
    rows = [row(number, accuracy / 6, 10 * size) for number, (accuracy, size) in enumerate(figures)]
    order.shuffle(rows)
    with tempfile.TemporaryDirectory() as place:
        told = Told(study, Path(place))
        upkeep, dropped = Upkeep(told), set[int]()  # type: ignore[arg-type]
        for one in rows:
            told.add(one)
            told.told.sort(key=lambda known: known.number)
            upkeep()
            numbers = {known.number for known in told.told}
            dropped |= numbers - {known.number for known in worth_keeping(told.told, study)}
            assert set(told.whole()) == numbers - dropped
