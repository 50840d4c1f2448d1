"""Searches with rungs, played by workers that train in closed form: who goes on, what a kill leaves, how it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import evaluated, finish, make_study, read, task_of
from optuna.trial import TrialState
from rich.console import Console

import nas.commands.run
import nas.search.search
from nas.commands.retry import retry
from nas.files import write_atomically
from nas.records import State, score
from nas.run_folder.attempts import Spent, note_spent, spent_before
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rungs import scores_of
from nas.samplers.halving import RUNGS, rung_values
from nas.search.driver import Done
from nas.search.rungs import Rungs, is_paused, write_pruned
from nas.search.search import Search
from nas.search.upkeep import Upkeep
from nas.study import Study
from nas.study.file import dump_study
from nas.study.search import rung_epochs
from nas.tasks import Rung, Task, Verdict

pytestmark = pytest.mark.usefixtures("no_fsync")
SPACE = {"stages": ({"depths": (1, 2, 3), "widths": (8, 16, 24, 32)}, {"depths": (1, 2), "widths": (16, 32)})}


def rungs_study(**search: Any) -> Study:
    """Rungs behind 2 and 4 of 8 epochs, in a space large enough to go on drawing from."""
    study = make_study(**{"trials": 4, "sampler": "random", "rungs": (0.25, 0.5), **search})
    space = study.space.model_dump() | SPACE
    return Study.model_validate(study.model_dump() | {"space": space})


def accuracy_at(task: Task, share: float) -> int:
    """Of 100 images; what a candidate reaches in the end shows more and more clearly."""
    mixed = np.random.default_rng(int(task.candidate.id, 16))
    end, noise = mixed.integers(30, 99), mixed.normal(0, 20)
    return int(np.clip(end * (0.5 + share / 2) + noise * (1 - share), 1, 99))


@dataclass
class Machine:
    """A worker's disk and clock. `dies` counts reports down to a kill, which leaves checkpoints and records behind."""

    study: Study
    dies: int | None = None
    checkpoints: dict[Path, int] = field(default_factory=dict)
    reports: list[tuple[int, float, str]] = field(default_factory=list)

    def train(self, search: Search, task: Task) -> None:
        """From the rung at its checkpoint on, which is reported again, to where it is told to pause, or to its end."""
        for index in range(self.checkpoints.get(task.folder, 0), len(task.rungs)):
            share = task.rungs[index]
            self.checkpoints[task.folder] = index
            own = task.at_rung(share)
            if read_evaluation(own.folder) is None:
                self._write(own, epochs=float(rung_epochs(share, task.epochs)), share=share)
            record = read_evaluation(own.folder)
            assert record is not None
            self._may_die()
            verdict = search.report(task, Rung(record.epochs, task.epochs, share, scores_of(record), 0.5))
            self.reports.append((task.number, share, str(verdict)))
            self._may_die()
            if verdict is Verdict.PAUSE:
                return search.paused(task)
            if verdict is Verdict.STOP:
                finish(search, task, State.PRUNED, epochs=record.epochs, reason="stopped")
                return None
        self._write(task, epochs=task.epochs, share=1.0)
        self._may_die()
        read = read_evaluation(task.folder)
        assert read is not None
        search.finish(task, read)
        return None

    def _write(self, task: Task, *, epochs: float, share: float) -> None:
        validation = score(accuracy_at(task, share), 100)
        write_evaluation(task.folder, evaluated(task, self.study, validation=validation, epochs=epochs))

    def _may_die(self) -> None:
        if self.dies is not None:
            self.dies -= 1
            if self.dies < 0:
                raise Killed


class Killed(BaseException):
    """Stands for kill -9."""


def play(search: Search, machine: Machine) -> Done:
    """To the end with one worker."""
    while isinstance(task := search.propose(), Task):
        machine.train(search, task)
    assert isinstance(task, Done)
    return task


def played(folder: RunFolder, study: Study) -> Search:
    search = Search(study, folder)
    assert play(search, Machine(study)) == Done()
    return search


def outcome(search: Search) -> list[tuple[str, str, float | None, dict[float, list[float]]]]:
    """Of every trial: its candidate, state, last rung and what it reached."""
    trials = search.journal.trials()
    rungs = {row.number: row.rung for row in search.rows()}
    return [(search.notes(t.number).id, t.state.name, rungs.get(t.number), rung_values(t)) for t in trials]


def test_the_best_share_goes_on_and_the_others_are_pruned_in_the_end(folder: RunFolder) -> None:
    search = played(folder, rungs_study())
    counts = Counter(row.state for row in search.rows())
    assert counts[State.COMPLETE] == 4
    drawn = counts[State.COMPLETE] + counts[State.PRUNED]
    assert 12 <= drawn <= 18, "a quarter of the trials is trained to the end"
    reached = [rung_values(trial) for trial in search.journal.trials() if trial.user_attrs.get("duplicate_of") is None]
    assert all(0.25 in values for values in reached)
    assert 6 <= sum(0.5 in values for values in reached) <= drawn // 2
    for row in search.rows():
        trial = search.journal.trials()[row.number]
        if row.state is State.PRUNED:
            assert (trial.state, trial.values) == (TrialState.PRUNED, None)
            assert row.rung in (0.25, 0.5)
            assert row.accuracy == rung_values(trial)[row.rung][0]
            assert (row.epochs, row.fidelity) == (8 * row.rung, row.rung)
            assert row.reason == f"paused at {row.epochs:g} of 8 epochs when the search ended"
            assert not (folder.path / row.artifact / "checkpoint.pt").exists()
        if row.state is State.COMPLETE:
            assert (row.rung, row.epochs) == (0.5, 8)
            costs = [row.value(name) for name in search.study.objectives[1:]]
            assert [values[1:] for values in rung_values(trial).values()] == [costs] * 2, (
                "costs are exact from the start"
            )


def test_what_a_pruned_trial_took_holds_its_lost_attempts(folder: RunFolder) -> None:
    """Between rungs there are notes alone; they are gone with the record."""
    study = rungs_study()
    task = replace(task_of(Search(study, folder)), rungs=(0.25, 0.5))
    rung = evaluated(task.at_rung(0.25), study, epochs=2.0, seconds={"train": 3.0}, started_at="2030")
    write_evaluation(task.at_rung(0.25).folder, rung)
    assert write_pruned(task, study).seconds == {"train": 3.0}
    note_spent(task.folder, Spent({"train": 5.0}, "2029"))
    pruned = write_pruned(task, study)
    assert (pruned.seconds, pruned.started_at, pruned.epochs) == ({"train": 5.0}, "2029", 2.0)
    assert spent_before(task.folder) == Spent()
    early = replace(task, folder=folder.path / "early")
    note_spent(early.folder, Spent({"train": 1.0}, "2031"))
    pruned = write_pruned(early, study)
    assert (pruned.seconds, pruned.started_at, pruned.measurement) == ({"train": 1.0}, "2031", None)


def test_a_rung_where_a_target_gives_no_latency_is_the_worst(folder: RunFolder) -> None:
    study = rungs_study().model_copy(update={"objectives": ("accuracy", "latency_ms@b")})
    search = Search(study, folder)
    task = task_of(search)
    search.report(task, Rung(2, 8, 0.25, {"accuracy": 0.5, "latency_ms": 1.0}))
    (values,) = rung_values(search.journal.trials()[task.number]).values()
    assert values == [0.5, 1e9]


def test_a_paused_trial_has_no_row_until_it_is_told(folder: RunFolder) -> None:
    study = rungs_study()
    write_atomically(folder.study, dump_study(study))
    search, machine = Search(study, folder), Machine(study)
    upkeep = Upkeep(search)
    machine.train(search, task_of(search))
    upkeep()
    assert search.rungs.paused() == [0]
    assert (search.rows(), read(folder, "trials")) == ([], [])
    assert search.journal.trials()[0].state is TrialState.RUNNING
    play(search, machine)
    upkeep()
    table = read(folder, "trials")
    assert {row["rung"] for row in table if row["state"] == "PRUNED"} <= {"0.25", "0.5"}
    assert len(table) == len(search.rows())


@pytest.mark.parametrize("seed", range(3))
def test_none_goes_on_past_one_that_dominates_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    passes, original = list[int](), Rungs.let_go

    def watched(self: Rungs, number: int) -> None:
        trials = search.journal.trials()
        if is_paused(trials[number]):
            share = max(rung_values(trials[number]))
            mine = minimised(rung_values(trials[number])[share])
            for other in trials:
                theirs = rung_values(other).get(share)
                if theirs is not None and (minimised(theirs) <= mine).all() and (minimised(theirs) < mine).any():
                    assert not is_paused(other) or max(rung_values(other)) > share
            passes.append(number)
        original(self, number)

    def minimised(values: list[float]) -> np.ndarray:
        return np.array(values) * [-1, 1, 1]

    monkeypatch.setattr(Rungs, "let_go", watched)
    search = Search(rungs_study(seed=seed, trials=5), folder)
    play(search, Machine(search.study))
    assert len(passes) >= 10


def killed_and_continued(folder: RunFolder, study: Study, machine: Machine, lives: Iterator[int]) -> Search:
    """Every driver dies after so many reports, before or after one is heard; its checkpoints and records stay."""
    for machine.dies in lives:
        search = Search(study, folder)
        try:
            play(search, machine)
        except Killed:
            continue
        return search
    pytest.fail("no progress")


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "pareto"])
def test_killed_again_and_again_the_same_trials_go_on(tmp_path: Path, sampler: str) -> None:
    folders = [RunFolder(tmp_path / name) for name in ("straight", "killed")]
    for folder in folders:
        folder.path.mkdir()
    study = rungs_study(sampler=sampler, trials=3)
    straight = played(folders[0], study)
    machine, least = Machine(study), 4 if sampler == "pareto" else 1  # whose models take longer to start
    again = killed_and_continued(folders[1], study, machine, (least + n % 4 for n in range(400)))
    assert outcome(again) == outcome(straight)
    assert [replace(row, attempts=1) for row in again.rows()] == [replace(row, attempts=1) for row in straight.rows()]


def test_a_restarted_search_finds_its_rungs(folder: RunFolder) -> None:
    study, machine = rungs_study(), Machine(rungs_study())
    search = Search(study, folder)
    tasks = [task_of(search) for _ in range(5)]
    for task in tasks[:4]:
        machine.train(search, task)
    before = [search.journal.trials()[n].user_attrs[RUNGS] for n in range(4)]
    again = Search(study, folder)
    assert [again.journal.trials()[n].user_attrs[RUNGS] for n in range(4)] == before
    assert again.rungs.paused() == search.rungs.paused()
    assert task_of(again).number == 4, "what ran is continued first"
    assert {again.notes(n).attempts for n in again.rungs.paused()} == {1}, "to wait is no attempt"
    expected = next(n for n in (search.rungs.next(), again.rungs.next()) if n is not None)
    promoted = task_of(again)
    assert promoted.number == expected
    assert promoted.folder == again._task(expected).folder


def test_with_four_workers_as_many_are_complete_and_none_too_many(folder: RunFolder) -> None:
    study, random = rungs_study(trials=5, workers=4), np.random.default_rng(0)
    search, machine = Search(study, folder), Machine(study)
    running: list[Task] = []
    while True:
        while len(running) < 4 and isinstance(answer := search.propose(), Task):
            running.append(answer)
        if not running:
            break
        machine.train(search, running.pop(random.integers(len(running))))
    assert isinstance(answer, Done)
    assert search.count(State.COMPLETE) == 5
    assert all(trial.state.is_finished() for trial in search.journal.trials())


def test_enough_trials_stop_what_has_rungs_before_it(folder: RunFolder) -> None:
    search, machine = Search(rungs_study(trials=1), folder), Machine(rungs_study())
    late = task_of(search)
    while search.count(State.COMPLETE) < 1:
        machine.train(search, task_of(search))
    assert search.report(late, Rung(1, 8)) is Verdict.STOP
    finish(search, late, State.PRUNED, epochs=1.0, reason="stopped after 1 of 8 epochs")
    assert isinstance(search.propose(), Done)
    assert {row.state for row in search.rows()} == {State.COMPLETE, State.PRUNED}


@pytest.mark.parametrize("budget", [30, 60.5, 100])
@pytest.mark.parametrize("rungs", [(), (0.25, 0.5)])
def test_a_budget_of_epochs_is_spent_and_not_exceeded(
    folder: RunFolder, budget: float, rungs: tuple[float, ...]
) -> None:
    search = Search(rungs_study(trials=100, epoch_budget=budget, rungs=rungs), folder)
    said = f"no further piece of a training fits into search.epoch_budget {budget:g}"
    assert play(search, Machine(search.study)) == Done(said)
    looks = sum(len(rung_values(trial)) for trial in search.journal.trials()) * 0.5  # each copy of the machine's
    spent = looks + sum(row.epochs for row in search.rows() if row.state is not State.DUPLICATE)
    assert budget - 8.8 < spent <= budget
    longer = Search(rungs_study(trials=100, epoch_budget=budget + 40, rungs=rungs), folder)
    before = longer.count(State.COMPLETE)
    play(longer, Machine(longer.study))
    assert longer.count(State.COMPLETE) > before


def test_when_time_is_up_the_paused_stay_paused(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command goes on with them, as after Ctrl-C."""
    study = rungs_study(hours=1.0)
    search, machine = Search(study, folder), Machine(study)
    for _ in range(5):
        machine.train(search, task_of(search))
    now = nas.search.search.time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(nas.search.search.time, "monotonic", lambda: now + 3601)
        assert search.propose() == Done()
    waiting = search.rungs.paused()
    assert waiting
    assert search.count(State.PRUNED) == 0
    again = Search(study, folder)
    assert again.rungs.paused() == waiting
    play(again, machine)
    assert again.count(State.COMPLETE) == 4
    assert outcome(again)[0][0] == search.notes(0).id


def test_brackets_begin_at_later_rungs(folder: RunFolder) -> None:
    search = played(folder, rungs_study(trials=8, brackets=3))
    starts = {
        number: min(rung_values(trial), default=1.0)
        for number, trial in enumerate(search.journal.trials()) if trial.user_attrs.get("duplicate_of") is None
    }  # fmt: skip
    halving = search.rungs._halving
    assert halving is not None
    assert starts == {number: (0.25, 0.5, 1.0)[halving.bracket_of(number)] for number in starts}
    assert set(starts.values()) == {0.25, 0.5, 1.0}
    whole = [row for row in search.rows() if starts.get(row.number) == 1.0]
    assert {row.state for row in whole} == {State.COMPLETE}


def test_in_a_space_with_nothing_left_the_paused_go_on(folder: RunFolder) -> None:
    study = make_study(trials=12, sampler="random", rungs=(0.25, 0.5), anchors=False)
    narrow = Study.model_validate(study.model_dump() | {"compression": {"weight_format": ("int8",)}})
    small = narrow.space.model_dump() | {"expansions": (1,), "head_widths": (8,)}
    search = Search(Study.model_validate(narrow.model_dump() | {"space": small}), folder)
    done = play(search, Machine(search.study))
    assert "the space is exhausted" in done.problem or search.count(State.COMPLETE) == 12
    assert search.count(State.PRUNED) == 0
    assert search.count(State.COMPLETE) >= 4


def test_what_is_queued_again_has_no_rungs(folder: RunFolder) -> None:
    study = rungs_study(trials=2)
    write_atomically(folder.study, dump_study(study))
    search = Search(study, folder)
    finish(search, task_of(search), State.FAILED, reason="no reason")
    play(search, Machine(study))
    assert [told.failed for told in retry(folder.path)] == [0]
    again = Search(study, folder)
    task = task_of(again)
    assert (task.candidate, task.rungs) == (again.notes(0).candidate, ())
    assert again.report(task, Rung(1, 8)) is Verdict.CONTINUE
    finish(again, task)
    assert isinstance(again.propose(), Done)
    assert again.rows()[-1].state is State.COMPLETE


def test_a_duplicate_of_a_pruned_trial_is_told_what_it_is(folder: RunFolder) -> None:
    search = played(folder, make_study(trials=3, rungs=(0.25, 0.5), sampler="random"))
    duplicates = [row for row in search.rows() if row.state is State.DUPLICATE]
    states = {row.number: search.journal.trials()[row.number].state for row in duplicates}
    originals = {
        n: search.journal.trials()[search.journal.trials()[n].user_attrs["duplicate_of"]].state for n in states
    }
    assert states == originals
    assert TrialState.PRUNED in states.values()


def test_without_rungs_no_trial_is_scored_on_the_way(folder: RunFolder) -> None:
    search = Search(make_study(trials=2), folder)
    task = task_of(search)
    assert task.rungs == ()
    assert search.report(task, Rung(1, 8)) is Verdict.CONTINUE
    assert search.rungs.paused() == []


def test_a_whole_run_with_real_workers_pauses_and_ends(tmp_path: Path) -> None:
    """Two short rungs of real trainings, killed by nobody: files, rows and checkpoints are as they should be."""
    study = make_study(trials=1, finalists=0, sampler="random", rungs=(0.34, 0.67), training={"epochs": 3})
    study = Study.model_validate(study.model_dump() | {"data": {"source": "digits", "train_images": 200}})
    shown = StringIO()
    assert nas.commands.run.run(study, tmp_path / "run", Console(file=shown, width=200))
    folder = RunFolder(tmp_path / "run")
    table = read(folder, "trials")
    counts = Counter(row["state"] for row in table)
    assert counts["COMPLETE"] == 1
    assert counts["PRUNED"] >= 2
    (bar,) = (line for line in shown.getvalue().splitlines() if "search" in line and "1/1" in line)
    assert f"{counts['PRUNED']} pruned" in bar
    assert "paused" not in bar, "nothing is, any more"
    for row in table:
        if row["state"] not in ("COMPLETE", "PRUNED"):
            continue
        artifact = folder.path / row["artifact"]
        record = read_evaluation(artifact.with_name(f"{artifact.name}-r0.34"))
        assert record is not None
        assert (record.phase, record.state, record.epochs, record.budget) == ("rung", State.COMPLETE, 1.0, 3)
        assert record.validation is not None
        assert not (artifact / "checkpoint.pt").exists()
        assert float(row["epochs"]) == (3 if row["state"] == "COMPLETE" else {"0.34": 1, "0.67": 2}[row["rung"]])
        own = read_evaluation(artifact)
        assert own is not None
        assert own.seconds["train"] > record.seconds["train"] * 0.99
        assert own.seconds["rung"] > 0
    front = read(folder, "front")
    assert {int(row["trial"]) for row in front} <= {int(row["number"]) for row in table if row["state"] == "COMPLETE"}
