"""What search and finalists share: what is told, deaths, and that a restart at any point changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from by_hand import (
    NUMBERS,
    Script,
    different,
    drive,
    evaluated,
    finish,
    make_study,
    measured,
    row,
    states,
    summary,
    task_of,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas.records import Score, State, score
from nas.run_folder.attempts import Spent, note_spent, spent_before
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import TrialRow, row_in
from nas.search.driver import Done
from nas.search.endings import infeasible
from nas.search.finalists import Finalists, finalists_of
from nas.search.journal_file import repair
from nas.search.search import Search
from nas.search.standing import front_of
from nas.study import Study, Target
from nas.tasks import Rung, Task, Verdict

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_infeasible_is_told_with_its_costs_and_positive_constraint_values(folder: RunFolder, script: Script) -> None:
    drawn = different(2)
    script(drawn)
    costs = measured(drawn[0]).costs("cpu")
    study = make_study(trials=1, constraints={"parameters": costs["parameters"] / 2, "size_bytes": 1e9})
    search = Search(study, folder)
    row = finish(search, task_of(search))
    trial = search.journal.trials()[0]
    assert trial.state is TrialState.COMPLETE
    assert trial.values == [0.0, costs["parameters"], costs["size_bytes"]]
    assert trial.constraints == {"parameters": 1.0, "size_bytes": pytest.approx(costs["size_bytes"] / 1e9 - 1)}
    assert (row.state, row.accuracy, row.violation) == ("INFEASIBLE", None, {"parameters": 1.0})
    assert row.reason == "parameters 100.0% above its limit"
    assert search.count(State.COMPLETE) == 0
    assert finalists_of(search.rows(), study) == front_of(search.rows(), study.objectives) == []


def test_an_infeasible_bound_is_told_with_the_largest_cost_of_others(folder: RunFolder, script: Script) -> None:
    """Only the bound is known of it: what it would have cost stands in no record of ours."""
    drawn = different(2)
    script(drawn)
    limit = measured(drawn[0]).parameters
    study = make_study(trials=2, constraints={"parameters": limit})
    search = Search(study.model_copy(update={"objectives": ("accuracy", "latency_ms")}), folder)
    slow = finish(search, task_of(search)).costs["latency_ms"]
    bound = measured(drawn[1]).model_copy(update={"origin": "bound", "latency": {}, "parameters": 2 * limit})
    row = finish(search, task_of(search), State.INFEASIBLE, measurement=bound, violations={"parameters": 1.0})
    assert row.flags == ("bound",)
    assert search.journal.trials()[1].values == [0.0, slow]
    assert (row.accuracy, row.costs.get("latency_ms"), row.costs["parameters"]) == (None, None, 2 * limit)


def test_a_target_that_does_not_run_a_file_is_told_as_a_constraint(folder: RunFolder, script: Script) -> None:
    """Every trial says whether it runs; the value of one that does not is the worst that any trial had."""
    drawn = different(2)
    script(drawn)
    study = make_study(trials=2).model_copy(
        update={"objectives": ("accuracy", "latency_ms@b"), "targets": (Target(name="cpu"), Target(name="b"))}
    )
    search = Search(study, folder)
    both = measured(drawn[0])
    both = both.model_copy(update={"latency": {**both.latency, "b": both.latency["cpu"]}})
    runs = finish(search, task_of(search), measurement=both)
    row = finish(search, task_of(search), State.INFEASIBLE, violations={"latency_ms@b": 1.0})
    first, second = search.journal.trials()
    assert (first.constraints, second.constraints) == ({"runs@b": -1.0}, {"runs@b": 1.0})
    assert second.values == [0.0, runs.costs["latency_ms@b"]] == [0.0, first.values[1]]
    assert (row.state, "latency_ms@b" in row.costs) == ("INFEASIBLE", False)
    words = infeasible([row] * 100, study.limits)
    assert words.endswith("does not run the file as it should: so it is with 100 of them")


def test_a_quality_below_its_limit_is_told_with_its_value(folder: RunFolder) -> None:
    """Not with a placeholder: it was trained."""
    search = Search(make_study(trials=1, constraints={"accuracy": 0.9, "parameters": 1e9}), folder)
    row = finish(
        search, task_of(search), State.INFEASIBLE, validation=score(63, 100), violations={"accuracy": 0.3},
        reason="accuracy 0.63, limit 0.9",
    )  # fmt: skip
    trial = search.journal.trials()[0]
    assert trial.values is not None
    assert trial.values[0] == row.accuracy == 0.63
    assert trial.constraints["accuracy"] == pytest.approx(0.3)
    assert trial.constraints["parameters"] < 0
    assert (row.state, row.reason) == ("INFEASIBLE", "accuracy 0.63, limit 0.9")
    assert search.count(State.COMPLETE) == 0


@pytest.mark.parametrize(("state", "told"), [(State.COMPLETE, True), (State.PRUNED, False)])
def test_a_quality_counts_at_the_end_of_a_training_alone(folder: RunFolder, state: State, told: bool) -> None:
    """At a rung it says little of the end."""
    search = Search(make_study(trials=1, constraints={"accuracy": 0.5, "parameters": 1e9}), folder)
    task = task_of(search)
    finish(search, task, state, validation=score(40, 100), measurement=measured(task.candidate))
    trial = search.journal.trials()[0]
    assert set(trial.constraints) == ({"accuracy", "parameters"} if told else {"parameters"})


def test_third_death_fails_the_candidate(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    first = task = task_of(search)
    for attempt in (1, 2):
        assert task.attempt == attempt
        assert search.died(task, "killed by signal 9") is None
        task = task_of(search)
        assert (task.number, task.candidate) == (first.number, first.candidate)
    task.folder.mkdir(parents=True)
    (task.folder / "checkpoint.pt").touch()
    row = search.died(task, "killed by signal 9")
    assert row is not None
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"], "a retry would go on from a checkpoint"
    assert (row.number, row.state, row.attempts) == (0, "FAILED", 3)
    assert row.reason == "killed by signal 9 (death 3)"
    assert search.journal.trials()[0].state is TrialState.FAIL
    assert task_of(search).number == 1
    recorded = read_evaluation(task.folder)
    assert recorded is not None
    assert recorded.state is State.FAILED


def test_deaths_are_remembered_over_a_restart(folder: RunFolder) -> None:
    study = make_study(trials=3)
    search = Search(study, folder)
    for _ in range(2):
        assert search.died(task_of(search), "") is None
    again = Search(study, folder)
    row = again.died(task_of(again), "gone")
    assert row is not None
    assert (row.number, row.state, row.reason) == (0, "FAILED", "gone (death 3)")


def test_a_worker_that_never_started_is_no_death(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    for attempt in range(1, 7):
        task = task_of(search)
        assert (task.number, task.attempt) == (0, attempt)
        assert search.died(task, "", started=False) is None
    assert search.notes(0).deaths == 0


def test_deaths_of_the_driver_are_no_deaths_of_the_candidate(folder: RunFolder) -> None:
    study = make_study(trials=3)
    for attempt in range(1, 7):
        task = task_of(Search(study, folder))
        assert (task.number, task.attempt) == (0, attempt)
    search = Search(study, folder)
    finish(search, task_of(search))
    assert states(search) == ["COMPLETE"]


def test_over_the_time_limit_is_failed_at_once(folder: RunFolder) -> None:
    search = Search(make_study(trials=3, trial_minutes=0.5), folder)
    task = task_of(search)
    task.folder.mkdir(parents=True)
    (task.folder / "checkpoint.pt").touch()
    row = search.took_too_long(task)
    assert (row.number, row.state, row.attempts) == (0, "FAILED", 1)
    assert row.reason == "took longer than search.trial_minutes 0.5"
    assert row.seconds is None  # nobody knows
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"]
    assert task_of(search).number == 1
    assert states(Search(search.study, folder)) == ["FAILED"]


@pytest.mark.parametrize(("given", "more"), [({}, ""), ({"train_images": 50}, ", and more for its images")])
def test_finalists_may_take_as_much_longer_as_they_have_epochs(
    folder: RunFolder, given: dict[str, int], more: str
) -> None:
    study = make_study(trials=1, finalists=1, trial_minutes=0.5, epochs=2, **given)  # of training.epochs 8
    assert [study.limit_minutes(epochs) for epochs in (2, 8)] == [0.5, 2.0]
    assert make_study().limit_minutes(8) is None
    search = Search(study, folder)
    finish(search, task_of(search))
    finalists = Finalists(study, folder)
    finalists.choose(search)
    assert finalists.unfinished
    row = finalists.took_too_long(task_of(finalists))
    assert row.reason == f"took longer than search.trial_minutes 0.5 x 4{more}"
    assert not finalists.unfinished


def test_a_result_of_the_last_moment_counts(folder: RunFolder) -> None:
    search = Search(make_study(trials=3, trial_minutes=0.5), folder)
    task = task_of(search)
    write_evaluation(task.folder, evaluated(task, search.study))
    assert search.took_too_long(task).state is State.COMPLETE


def test_a_worker_that_dies_after_its_result_was_written_has_finished(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    task = task_of(search)
    write_evaluation(task.folder, evaluated(task, search.study))
    row = search.died(task, "killed by signal 9")
    assert row is not None
    assert row.state == "COMPLETE"
    assert task_of(search).number == 1


@dataclass
class Recorded:
    """An uninterrupted run: its journal line by line, and each evaluation with the lines that came before it."""

    lines: list[bytes]
    evaluations: list[tuple[int, Path, bytes]]
    candidates: list[str]
    rows: list[TrialRow]

    def points(self) -> list[tuple[int, int]]:
        """Every (lines, evaluations) that a kill can leave behind, once the study is in the journal."""
        found = []
        for lines in range(1, len(self.lines) + 1):
            before = sum(at < lines for at, _, _ in self.evaluations)
            after = sum(at <= lines for at, _, _ in self.evaluations)
            found += [(lines, count) for count in range(before, after + 1)]
        return found

    def restore(self, folder: RunFolder, lines: int, evaluations: int) -> None:
        folder.path.mkdir()
        folder.journal.write_bytes(b"".join(self.lines[:lines]))
        for _, file, content in self.evaluations[:evaluations]:
            place = folder.path / file
            place.parent.mkdir(parents=True)
            place.write_bytes(content)


def record(study: Study, folder: RunFolder) -> Recorded:
    folder.path.mkdir(exist_ok=True)
    search = Search(study, folder)
    evaluations = []
    while isinstance(task := search.propose(), Task):
        before = folder.journal.read_bytes().count(b"\n")
        finish(search, task)
        file = task.folder / "evaluation.json"
        evaluations.append((before, file.relative_to(folder.path), file.read_bytes()))
    return Recorded(folder.journal.read_bytes().splitlines(keepends=True), evaluations, *summary(search))


def restart_study(sampler: str) -> Study:
    """With infeasible candidates and, in so small a space, duplicates."""
    return make_study(trials=9, sampler=sampler, constraints={"parameters": 900})


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_a_restart_at_any_point_changes_nothing(tmp_path: Path, sampler: str) -> None:
    straight = record(restart_study(sampler), RunFolder(tmp_path / "run"))
    assert {row.state for row in straight.rows} == {"COMPLETE", "INFEASIBLE", "DUPLICATE"}
    for lines, evaluations in straight.points():
        folder = RunFolder(tmp_path / f"{lines}-{evaluations}")
        straight.restore(folder, lines, evaluations)
        search, missing = Search(restart_study(sampler), folder), len(straight.evaluations) - evaluations
        for _ in range(missing):  # none is done twice
            finish(search, task_of(search))
        assert isinstance(search.propose(), Done)
        assert summary(search) == (straight.candidates, straight.rows), (lines, evaluations)


class Killed(BaseException):
    """Stands for kill -9."""


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every driver dies at its n-th write to the journal, whatever it writes, and leaves half a record."""
    study = restart_study("nsga2")
    straight = record(study, RunFolder(tmp_path / "run"))
    folder = RunFolder(tmp_path / "killed")
    folder.path.mkdir()
    original = JournalFileBackend.append_logs
    patience: Iterator[int] = iter(())

    def append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if next(patience, None) is None:
            with folder.journal.open("ab") as file:
                file.write(b'{"op_code": 4, "worker_id": "7')
            raise Killed
        original(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    for life in range(200):
        patience = iter(range(5 + life % 7))
        repair(folder.journal)
        try:
            search = Search(study, folder)
            drive(search)
            break
        except Killed:
            continue
    else:
        pytest.fail("no progress")
    assert life > 5
    assert summary(search) == (straight.candidates, straight.rows)


def test_more_trials_later_are_the_trials_of_a_longer_search(tmp_path: Path) -> None:
    long, short = RunFolder(tmp_path / "long"), RunFolder(tmp_path / "short")
    for place in (long, short):
        place.path.mkdir()
    whole = Search(make_study(trials=9), long)
    drive(whole)
    drive(Search(make_study(trials=5), short))
    continued = Search(make_study(trials=9), short)
    drive(continued)
    assert summary(continued) == summary(whole)


@pytest.mark.parametrize("quality", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_qualities_are_maximised(folder: RunFolder, quality: str) -> None:
    study = make_study(trials=3).model_copy(update={"objectives": ("parameters", quality)})
    search = Search(study, folder)
    stored = JournalStorage(JournalFileBackend(str(folder.journal)))
    directions = optuna.load_study(storage=stored, study_name="t").directions
    assert [direction.name for direction in directions] == ["MINIMIZE", "MAXIMIZE"]
    scored = Score(accuracy=0.9, se=0.01, images=100, balanced_accuracy=0.8, macro_f1=0.7, log_loss=0.3)
    told = finish(search, task_of(search), validation=scored, test=scored)
    expected = {"accuracy": 0.9, "balanced_accuracy": 0.8, "macro_f1": 0.7}[quality]
    assert search.journal.trials()[0].values == [told.value("parameters"), expected]
    finish(search, task_of(search), State.INFEASIBLE)
    assert search.journal.trials()[-1].values[1] == 0  # the worst there is, which only samplers see
    assert (told.balanced_accuracy, told.macro_f1, told.log_loss) == (0.8, 0.7, 0.3)
    assert (told.test_balanced_accuracy, told.test_macro_f1) == (0.8, 0.7)
    better = [
        row(0, 0.5, 10, 1, macro_f1=0.9, balanced_accuracy=0.9),
        row(1, 0.9, 10, 1, macro_f1=0.5, balanced_accuracy=0.5),
    ]
    assert [r.number for r in front_of(better, study.objectives)] == [1 if quality == "accuracy" else 0]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_searched_numbers_replay_over_restarts(tmp_path: Path, sampler: str) -> None:
    """The same study, asked with and without a restart before every ask, draws the same numbers."""

    def numbers(path: Path, *, restarts: bool) -> list[dict[str, float]]:
        folder = RunFolder(path)
        folder.path.mkdir()
        study = make_study(trials=14, sampler=sampler, training=NUMBERS)
        search, found = Search(study, folder), []
        while isinstance(task := search.propose(), Task):
            found.append(task.training)
            finish(search, task)
            search = Search(study, folder) if restarts else search
        return found

    straight = numbers(tmp_path / "a", restarts=False)
    assert straight == numbers(tmp_path / "b", restarts=True)
    assert len(straight) == 14
    assert all(0.01 <= n["learning_rate"] <= 1.0 and n["mixup"] in (0.0, 0.2) for n in straight)


def test_notes_of_plain_studies_are_as_before(folder: RunFolder) -> None:
    search = Search(make_study(trials=1), folder)
    drive(search)
    assert set(search.journal.trials()[0].user_attrs) >= {"candidate", "id", "seed", "epochs", "attempts", "deaths"}
    assert "training" not in search.journal.trials()[0].user_attrs


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_rows_and_counts_follow_every_finish(folder: RunFolder, script: Script, order: tuple[int, ...]) -> None:
    script([*different(3), different(1)[0], *different(5)[3:]])
    search = Search(make_study(trials=9), folder)
    tasks = [task_of(search) for _ in range(3)]
    assert (search.rows(), search.count(State.COMPLETE)) == ([], 0)
    for seen, index in enumerate(order, start=1):
        finish(search, tasks[index], State.FAILED if index == 1 else State.COMPLETE)
        assert [row.number for row in search.rows()] == sorted(order[:seen])
        assert search.count(State.FAILED) == (1 in order[:seen])
    finish(search, task_of(search))
    expected = [row_in(trial.user_attrs) for trial in search.journal.trials() if trial.state.is_finished()]
    assert search.rows() == expected == Search(search.study, folder).rows()
    assert states(search) == ["COMPLETE", "FAILED", "COMPLETE", "DUPLICATE", "COMPLETE"]
    assert search.count(State.DUPLICATE) == 1


def test_a_report_between_epochs_is_answered_with_continue(folder: RunFolder) -> None:
    """Neither the search nor the finalists stop a training early, and asking changes nothing."""
    study = make_study(trials=1, finalists=1)
    search = Search(study, folder)
    task = task_of(search)
    before = folder.journal.read_bytes()
    assert [search.report(task, Rung(epochs, 8)) for epochs in (0.5, 1, 8)] == [Verdict.CONTINUE] * 3
    assert folder.journal.read_bytes() == before
    finish(search, task)
    finalists = Finalists(study, folder)
    finalists.choose(search)
    assert finalists.report(task_of(finalists), Rung(1, 8)) is Verdict.CONTINUE


def test_a_driver_that_stops_trainings_is_one_method(folder: RunFolder) -> None:
    class Impatient(Search):
        def report(self, task: Task, rung: Rung) -> Verdict:
            return Verdict.STOP if rung.epochs >= rung.budget / 2 else super().report(task, rung)

    search = Impatient(make_study(trials=1), folder)
    task = task_of(search)
    found = [search.report(task, Rung(epochs, task.epochs)) for epochs in (1, 3.5, 4)]
    assert found == [Verdict.CONTINUE, Verdict.CONTINUE, Verdict.STOP]


def test_only_finalists_read_the_test_split_and_all_keep_to_the_constraints(folder: RunFolder) -> None:
    study = make_study(trials=1, finalists=1)
    search = Search(study, folder)
    task = task_of(search)
    finish(search, task)
    finalists = Finalists(study, folder)
    finalists.choose(search)
    final = task_of(finalists)
    assert [(one.reads_test, one.is_constrained) for one in (task, final)] == [(False, True), (True, True)]
    assert Task.from_line(final.to_line()) == final


def test_a_failure_without_a_record_holds_the_seconds_of_its_attempts(folder: RunFolder) -> None:
    search = Search(make_study(trials=2, trial_minutes=1.0), folder)
    task = task_of(search)
    note_spent(task.folder, Spent({"train": 60.0}, "2030-01-01T00:00:00+00:00"))
    row = search.took_too_long(task)
    assert (row.seconds, row.started_at) == (60.0, "2030-01-01T00:00:00+00:00")
    assert spent_before(task.folder) == Spent()
