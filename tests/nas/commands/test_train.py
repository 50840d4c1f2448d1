"""`nas train`: a further finalist with a recipe of its own; what it refuses, and that a death costs nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import Workers, different, evaluated, make_study, read
from rich.console import Console

import nas.commands.run
from nas.commands.retry import retry
from nas.commands.train import Searched, chosen, train
from nas.errors import InputError
from nas.executors.engine import OnThisMachine
from nas.executors.pool import ExecutorSetup, Finished
from nas.records import State
from nas.registry import ENGINES
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.run_folder.rows import TrialNotes, TrialRow
from nas.search.finalists import Finalists
from nas.search.search import Search
from nas.study.file import load_study
from nas.tasks import Task

STUDY = make_study(trials=6, finalists=2, workers=2, sampler="nsga2")


class Failing(Workers):
    """Every task fails."""

    def wait(self, _: float) -> list[Finished]:
        task = self.running.pop(0)
        study = load_study(self.folder / "study.yaml")
        write_evaluation(task.folder, evaluated(task, study, State.FAILED, reason="no luck"))
        return [Finished(task, task.folder)]


def trained(folder: RunFolder, trial: str, *overrides: str) -> TrialRow | None:
    return train(folder.path, trial, overrides, Console(quiet=True))


def by_hand(setup: ExecutorSetup) -> Workers:
    return Workers(setup.folder.path, setup.workers, setup.threads)


@pytest.fixture(autouse=True)
def _workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "local", OnThisMachine(by_hand))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six complete trials and two finalists."""
    path = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ENGINES, "local", OnThisMachine(by_hand))
        assert nas.commands.run.run(STUDY, path, Console(quiet=True))
    return path


@pytest.fixture
def ended(finished: Path, tmp_path: Path, no_fsync: None) -> RunFolder:
    return RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))


def complete(folder: RunFolder) -> list[str]:
    return [row["number"] for row in read(folder, "trials") if row["state"] == "COMPLETE"]


def test_a_further_finalist_stands_beside_the_others(ended: RunFolder) -> None:
    before, study = read(ended, "finalists"), ended.study.read_text()
    trial = next(number for number in complete(ended) if number not in {row["trial"] for row in before})
    row = trained(ended, trial, "finals.epochs=9", "finals.batch_size=32")
    assert row is not None
    assert (row.shown, row.state, row.epochs, row.recipe) == (int(trial), "COMPLETE", 9, "epochs=9 batch_size=32")
    finalists = read(ended, "finalists")
    same = [{key: row[key] for key in row if key != "p_on_front"} for row in (*before, *finalists[:-1])]
    assert same[: len(before)] == same[len(before) :]
    new = finalists[-1]
    assert (new["trial"], new["epochs"], new["recipe"]) == (trial, "9", "epochs=9 batch_size=32")
    assert new["artifact"].rpartition("/")[2].startswith("final-1-t")
    assert {row["recipe"] for row in before} == {""}
    assert {row["artifact"] for row in read(ended, "front")} <= {row["artifact"] for row in finalists}
    assert ended.study.read_text() == study
    assert len(complete(ended)) == 6


def test_of_one_trial_there_may_be_several(ended: RunFolder) -> None:
    trial = read(ended, "finalists")[0]["trial"]
    rows = [trained(ended, trial, f"finals.epochs={epochs}") for epochs in (9, 10)]
    artifacts = [row["artifact"] for row in read(ended, "finalists") if row["trial"] == trial]
    assert len(set(artifacts)) == 3
    assert artifacts[1:] == [row.artifact for row in rows if row is not None]


def test_the_same_recipe_is_not_trained_twice(ended: RunFolder) -> None:
    trial = read(ended, "finalists")[0]["trial"]
    with pytest.raises(InputError, match=rf"trial {trial} is trained with the study's own recipe already \(COMPLETE\)"):
        trained(ended, trial)
    trained(ended, trial, "finals.epochs=9")
    with pytest.raises(InputError, match=rf"trial {trial} is trained with epochs=9 already"):
        trained(ended, trial, "finals.epochs=9")


def test_a_run_may_go_on_with_other_finals(ended: RunFolder) -> None:
    """The finalists that there are stay; the same trials, or others, are trained by the new recipe."""
    longer = STUDY.model_copy(update={"finals": STUDY.finals.model_copy(update={"epochs": 9})})
    assert nas.commands.run.run(longer, ended.path, Console(quiet=True))
    finalists = read(ended, "finalists")
    assert [row["epochs"] for row in finalists] == ["8", "8", "9", "9"]
    assert [row["trial"] for row in finalists[2:]] == [row["trial"] for row in finalists[:2]]
    assert load_study(ended.study).finals.epochs == 9
    # What `nas train` changes stands above the run's own finals.
    row = trained(ended, finalists[0]["trial"], "finals.batch_size=32")
    assert row is not None
    assert row.recipe == "epochs=9 batch_size=32"
    assert nas.commands.run.run(longer, ended.path, Console(quiet=True))
    assert len(read(ended, "finalists")) == 5


def test_after_a_death_the_same_command_goes_on(ended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = complete(ended)[0]
    tasks: list[Task] = []

    class Dying(Workers):
        def submit(self, task: Task) -> None:
            tasks.append(task)
            raise KeyboardInterrupt

    def dying(setup: ExecutorSetup) -> Workers:
        return Dying(setup.folder.path, setup.workers, setup.threads)

    with monkeypatch.context() as patched:
        patched.setitem(ENGINES, "local", OnThisMachine(dying))
        with pytest.raises(KeyboardInterrupt):
            trained(ended, trial, "finals.epochs=9")
    (task,) = tasks
    assert (task.epochs, task.recipe, task.reads_test) == (9, {"epochs": 9}, True)
    row = trained(ended, trial, "finals.epochs=9")
    assert row is not None
    assert ended.path / row.artifact == task.folder
    assert [r["recipe"] for r in read(ended, "finalists")].count("epochs=9") == 1


def test_only_the_one_that_is_asked_for_is_trained(ended: RunFolder) -> None:
    """Another one that is unfinished waits for `nas run`."""
    first, second = complete(ended)[:2]
    study = load_study(ended.study, ["finals.epochs=9"])
    search = Search(study, ended)
    Finalists(study, ended).add(int(first), search.notes(int(first)), search.rows())
    row = trained(ended, second, "finals.epochs=9")
    assert row is not None
    assert [r["trial"] for r in read(ended, "finalists") if r["recipe"]] == [second]


def test_one_that_failed_is_queued_again_by_retry(ended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = complete(ended)[0]
    with monkeypatch.context() as patched:
        patched.setitem(ENGINES, "local", OnThisMachine(lambda setup: Failing(setup.folder.path, 1, 1)))
        row = trained(ended, trial, "finals.epochs=9")
    assert row is not None
    assert row.state is State.FAILED
    with pytest.raises(InputError, match=rf"trial {trial} failed with epochs=9 \(no luck\); `nas retry` queues it"):
        trained(ended, trial, "finals.epochs=9")
    assert [again.failed for again in retry(ended.path)] == [int(trial)]
    again = trained(ended, trial, "finals.epochs=9")
    assert again is not None
    assert (again.state, again.artifact, again.recipe) == ("COMPLETE", row.artifact, "epochs=9")


@pytest.mark.parametrize("key", ["search.seed=3", "training.epochs=9", "search.trials=9", "data.train_images=500"])
def test_nothing_but_finals_may_differ(ended: RunFolder, key: str) -> None:
    name = key.partition("=")[0]
    with pytest.raises(InputError, match=rf"expected changes of finals.KEY alone, got\n  {name}: "):
        trained(ended, complete(ended)[0], "finals.epochs=9", key)


def test_a_key_without_its_section_is_shown_with_it(ended: RunFolder) -> None:
    with pytest.raises(
        InputError, match=r"expected finals\.epochs=9, got epochs=9\ncommand .* expected finals\.ema=0\.9, "
    ):
        trained(ended, complete(ended)[0], "epochs=9", "finals.batch_size=4", "ema=0.9")


def test_trials_that_cannot_be_trained(folder: RunFolder) -> None:
    study = make_study(constraints={"parameters": 1500.0}, trials=6, finalists=1, sampler="random")
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    rows = read(folder, "trials")
    trial = next(row["number"] for row in rows if row["state"] == "INFEASIBLE")
    for named, said in (
        (trial, f"trial {trial} is infeasible, however long it is trained: parameters"),
        ("999", f"expected a trial's number, 0 to {len(rows) - 1}, .* got '999'"),
        ("zzzz", "or the beginning of its id, got 'zzzz'"),
        ("\N{SUPERSCRIPT TWO}", "expected a trial's number"),  # a digit, and no number
    ):
        with pytest.raises(InputError, match=said):
            trained(folder, named, "finals.epochs=9")
    assert all(row["recipe"] == "" for row in read(folder, "finalists"))


def test_one_that_is_not_good_enough_yet_may_be_trained_on() -> None:
    """How accurate it is depends on its training; what it costs does not."""
    notes = [TrialNotes.of(different(1)[0], seed=0, epochs=8, training={})]
    missed = TrialRow(0, State.INFEASIBLE, notes[0].id, violation={"accuracy": 0.1}, reason="accuracy 0.45, limit 0.5")
    assert chosen("0", Searched(notes, [missed])) == 0
    dear = replace(missed, violation={"accuracy": 0.1, "latency_ms": 0.2})
    with pytest.raises(InputError, match=r"trial 0 is infeasible, however long it is trained: accuracy 0\.45"):
        chosen("0", Searched(notes, [dear]))


def test_one_whose_weights_cost_too_much_may_be_trained_otherwise() -> None:
    """By a rate penalty codes get cheaper; what a threshold leaves depends on weights, but a bound does not."""
    candidate = different(1)[0]
    notes = [TrialNotes.of(candidate, seed=0, epochs=8, training={})]
    coded = TrialRow(0, State.INFEASIBLE, candidate.id, violation={"coded_bytes": 0.1}, reason="too much")
    assert chosen("0", Searched(notes, [coded])) == 0
    plan = candidate.plan.model_copy(update={"steps": {"masked": {"stem.conv": {"threshold": 0.1}}}})
    notes = [TrialNotes.of(candidate.model_copy(update={"plan": plan}), seed=0, epochs=8, training={})]
    large = replace(coded, violation={"size_bytes": 0.1})
    assert chosen("0", Searched(notes, [large])) == 0
    with pytest.raises(InputError, match="trial 0 is infeasible, however long it is trained: too much"):
        chosen("0", Searched(notes, [replace(large, flags=("bound",))]))


def test_a_retry_stands_for_the_trial_that_failed() -> None:
    one, two = (TrialNotes.of(candidate, seed=0, epochs=8, training={}) for candidate in different(2))
    notes = [one, replace(one, duplicate_of=0), two, replace(one, retry_of=0), replace(one, retry_of=3)]
    failed = TrialRow(0, State.FAILED, one.id, reason="no luck")
    rows = [failed, replace(failed, number=3), TrialRow(4, State.COMPLETE, one.id)]
    for named in ("0", "1", "3", "4", one.id):
        assert chosen(named, Searched(notes, rows)) == 4
    with pytest.raises(InputError, match=r"trial 0 failed \(no luck\)"):
        chosen("1", Searched(notes[:3], rows[:1]))
    with pytest.raises(InputError, match="trial 2 is not finished"):
        chosen(two.id, Searched(notes, rows))


def test_one_network_with_several_numbers_is_several() -> None:
    notes = [TrialNotes.of(different(1)[0], seed=0, epochs=8, training={"learning_rate": rate}) for rate in (0.1, 0.2)]
    rows = [TrialRow(number, State.COMPLETE, notes[0].id) for number in range(2)]
    assert chosen("1", Searched(notes, rows)) == 1
    with pytest.raises(InputError, match=rf"fits 2 networks, trials .*0 \({notes[0].id}\)"):
        chosen(notes[0].id, Searched(notes, rows))


def test_before_the_first_trial_there_is_none_to_name() -> None:
    with pytest.raises(InputError, match="of which there is none yet"):
        chosen("0", Searched([], []))


def test_a_network_is_named_by_its_id_too(ended: RunFolder) -> None:
    chosen = next(row for row in read(ended, "trials") if row["state"] == "COMPLETE")
    row = trained(ended, chosen["id"], "finals.epochs=9")
    assert row is not None
    assert row.id == chosen["id"]


def test_a_trial_may_teach(ended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its finalist where it has one; which file it was is kept, whatever finalists come later."""
    finalist = read(ended, "finalists")[0]
    trial = next(number for number in complete(ended) if number != finalist["trial"])
    with pytest.raises(InputError, match=r"finals.teacher: trial \d+ has no model.onnx any more"):
        trained(ended, trial, f"finals.teacher={finalist['trial']}")
    (ended.path / finalist["artifact"] / "model.onnx").touch()
    tasks: list[Task] = []
    submit = Workers.submit
    monkeypatch.setattr(Workers, "submit", lambda self, task: (tasks.append(task), submit(self, task))[1])
    row = trained(ended, trial, f"finals.teacher={finalist['trial']}")
    assert row is not None
    assert row.recipe == f"teacher={finalist['trial']}"
    assert tasks[0].recipe == {"teacher": finalist["artifact"]}
    with pytest.raises(InputError, match=r"finals.teacher: expected a complete trial of this run, got 99"):
        trained(ended, trial, "finals.teacher=99")


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study.yaml: cannot be read"):
        train(tmp_path, "0", [], Console(quiet=True))
