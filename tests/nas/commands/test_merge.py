"""Runs of one study joined: every evaluation once, nothing of the runs touched, and the result is a run like any."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import by_hand
import optuna
import pytest
from by_hand import Workers, drive, finish, make_study, read, task_of
from drafts import dense, residual
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from rich.console import Console

import nas.commands.run
from nas import cli
from nas.commands.merge import lines_of, merge
from nas.errors import InputError
from nas.executors.engine import OnThisMachine
from nas.executors.pool import ExecutorSetup
from nas.files import sole_holder
from nas.records import Evaluation, State
from nas.registry import ENGINES
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Task
from search_spaces.existing.known import Known, to_json

pytestmark = pytest.mark.usefixtures("no_fsync")
Pair = tuple[RunFolder, RunFolder]


def study_of(**search: Any) -> Study:
    study = make_study(**{"trials": 5, "finalists": 2, "workers": 1, "sampler": "random", **search})
    return study.model_copy(update={"data": study.data.model_copy(update={"split_seed": 0})})


def evaluate_by_hand(patched: pytest.MonkeyPatch) -> None:
    """Every training leaves a model, and its accuracy depends on its seed too."""

    def workers(setup: ExecutorSetup) -> Workers:
        return Workers(setup.folder.path, setup.workers, setup.threads)

    original = by_hand.evaluated

    def seeded(task: Task, study: Study, state: State | None = None, **fields: Any) -> Evaluation:
        task.folder.mkdir(parents=True, exist_ok=True)
        (task.folder / "model.onnx").write_text(f"{task.candidate.id} {task.phase} {task.seed}")
        found = original(task, study, state, **fields)
        if found.validation is None:
            return found
        accuracy = found.validation.accuracy * (1 - task.seed / 1000)
        return found.model_copy(update={"validation": found.validation.model_copy(update={"accuracy": accuracy})})

    patched.setattr(by_hand, "evaluated", seeded)
    patched.setitem(ENGINES, "local", OnThisMachine(workers))
    patched.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def by_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_by_hand(monkeypatch)


RUNS: dict[str, dict[str, Any]] = {"a": {"seed": 0}, "b": {"seed": 5, "trials": 7, "repeat_share": 0.5}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, with finalists, references and repeats, made once."""
    path = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        evaluate_by_hand(patched)
        patched.setattr("nas.search.repeats.on_front", lambda rows, *_, **__: [0.5] * len(rows))
        for name, search in RUNS.items():
            nas.commands.run.run(study_of(**search), path / name, Console(quiet=True))
    return path


@pytest.fixture
def both(tmp_path: Path, finished: Path, by_hands: None) -> Pair:
    first, second = (RunFolder(shutil.copytree(finished / name, tmp_path / name)) for name in RUNS)
    return first, second


def tree(folder: RunFolder) -> dict[str, str]:
    files = (path for path in sorted(folder.path.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trained(*folders: RunFolder) -> set[tuple[str, str, str]]:
    """Identity, seed and accuracy of every complete training of the search and of repeats."""
    rows = [row for folder in folders for name in ("trials", "repeats") for row in read_if_there(folder, name)]
    return {(row["id"], row["seed"], row["accuracy"]) for row in rows if row["state"] == "COMPLETE"}


def read_if_there(folder: RunFolder, name: str) -> list[dict[str, str]]:
    return read(folder, name) if (folder.path / f"{name}.csv").exists() else []


def into(*folders: RunFolder) -> RunFolder:
    to = folders[0].path.with_name("merged")
    merge([folder.path for folder in folders], to)
    return RunFolder(to)


def test_two_seeds_of_a_study(both: Pair) -> None:
    first, second = both
    before = tree(first), tree(second)
    merged = into(first, second)
    assert (tree(first), tree(second)) == before, "runs are only read"
    rows = read(merged, "trials")
    assert [int(row["number"]) for row in rows] == list(range(len(rows)))
    assert len({row["id"] for row in rows}) == len(rows) > 5
    assert trained(merged) == trained(first, second)
    ids = [{row["id"] for row in read(folder, "trials")} for folder in (first, second)]
    assert {row["id"] for row in rows} == ids[0] | ids[1]
    assert {row["id"] for row in read(merged, "finalists")} == {
        row["id"] for folder in (first, second) for row in read(folder, "finalists")
    }
    assert read(merged, "references") == read(first, "references")
    for name in ("trials", "repeats", "finalists", "references"):
        for row in read_if_there(merged, name):
            evaluation = read_evaluation(merged.path / row["artifact"])
            assert evaluation is not None
            assert evaluation.candidate_id == row["id"]
            assert str(evaluation.seed) == row.get("seed", str(evaluation.seed))
            assert f"{evaluation.phase}-{evaluation.seed}" in row["artifact"]
            assert (merged.path / row["artifact"] / "model.onnx").exists()
    assert merged.split.read_bytes() == first.split.read_bytes()


def test_finalists_and_repeats_belong_to_the_new_numbers(both: Pair) -> None:
    merged = into(*both)
    ids = {row["number"]: row["id"] for row in read(merged, "trials")}
    told = [row for name in ("finalists", "repeats") for row in read_if_there(merged, name)]
    assert len(told) > 4
    assert all(ids[row["trial"]] == row["id"] for row in told)


def test_stock_optuna_opens_it_and_a_search_goes_on(both: Pair) -> None:
    merged = into(*both)
    file = JournalFileBackend(str(merged.journal), lock_obj=JournalFileOpenLock(str(merged.journal)))
    study = optuna.load_study(storage=JournalStorage(file), study_name="t")
    before = read(merged, "trials")
    assert [trial.user_attrs["row"]["id"] for trial in study.trials] == [row["id"] for row in before]
    assert {trial.user_attrs["merged_from"][0] for trial in study.trials} == {"a", "b"}
    more = study_of(seed=0, trials=len(before) + 3)
    assert nas.commands.run.run(more, merged.path, Console(quiet=True))
    after = read(merged, "trials")
    assert after[: len(before)] == before
    assert sum(row["state"] == "COMPLETE" for row in after) == len(before) + 3
    assert len({row["id"] for row in after if row["state"] != "DUPLICATE"}) == len(before) + 3


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_samplers_learn_from_all_of_it(tmp_path: Path, by_hands: None, sampler: str) -> None:
    options = {"sampler": sampler, "trials": 9}
    folders = [
        searched(RunFolder(tmp_path / name), study_of(seed=seed, **options)) for name, seed in (("a", 0), ("b", 5))
    ]
    merged = into(*folders)
    before = len(read(merged, "trials"))
    search = Search(study_of(sampler=sampler, trials=before + 4), merged)
    drive(search)
    generations = [
        [value for key, value in trial.system_attrs.items() if key.endswith(":generation")]
        for trial in search.journal.trials()
    ]
    assert all(len(own) == (sampler == "nsga2") for own in generations)
    assert search.count(State.COMPLETE) == before + 4
    if sampler == "nsga2":
        told = [own[0] for own in generations[:before]]
        is_full = told.count(max(told)) >= 4
        assert generations[before] == [max(told) + is_full], "what the runs had of the last generation counts as one"


def test_the_same_run_twice_over_is_one(both: Pair, tmp_path: Path) -> None:
    first, _ = both
    shutil.copytree(first.path, tmp_path / "copy")
    runs, merged = merge([first.path, tmp_path / "copy"], tmp_path / "merged")
    assert trained(RunFolder(tmp_path / "merged")) == trained(first)
    assert read(RunFolder(tmp_path / "merged"), "front") == read(first, "front")
    assert lines_of(runs, merged).splitlines()[1] == f"copy: 0 trials, {merged.counts[1].known} known from another"
    assert merged.counts[0].known == 0


def searched(folder: RunFolder, study: Study, states: dict[int, State] | None = None, unfinished: int = 0) -> RunFolder:
    """A search by hand alone; `states` of some trials by number."""
    folder.path.mkdir()
    folder.study.write_text(dump_study(study))
    search = Search(study, folder)
    for number in range(study.search.trials):
        finish(search, task_of(search), (states or {}).get(number))
    for _ in range(unfinished):
        search.journal.enqueue(search.notes(0).to_json())
    return folder


def test_another_seed_of_a_candidate_is_a_repeat_of_it(tmp_path: Path, by_hands: None) -> None:
    """Random searches of the same proposals, as two grids would be."""
    first = searched(RunFolder(tmp_path / "a"), study_of(trials=3, seed=0))
    second = RunFolder(tmp_path / "b")
    shutil.copytree(first.path, second.path)
    for record in list(second.path.rglob("evaluation.json")):
        evaluation = read_evaluation(record.parent)
        assert evaluation is not None
        moved = record.parent.with_name("search-2")
        record.parent.rename(moved)
        write_evaluation(moved, evaluation.model_copy(update={"seed": 2}))
    lines = []
    for line in second.journal.read_text().splitlines():
        record = json.loads(line)
        for holder in (record.get("user_attrs", {}), record.get("user_attr", {}).get("row", {})):
            if "seed" in holder:
                holder["seed"] = 2
            if "artifact" in holder:
                holder["artifact"] = holder["artifact"].replace("search-0", "search-2")
        lines.append(json.dumps(record) + "\n")
    second.journal.write_text("".join(lines))
    merged = into(first, second)
    trials, repeats = read(merged, "trials"), read(merged, "repeats")
    assert [(row["id"], row["seed"]) for row in trials] == [(row["id"], "0") for row in trials]
    assert [(row["trial"], row["id"], row["seed"]) for row in repeats] == [
        (row["number"], row["id"], "2") for row in trials
    ]
    for row in repeats:
        evaluation = read_evaluation(merged.path / row["artifact"])
        assert evaluation is not None
        assert (evaluation.phase, evaluation.seed) == ("repeat", 2)
        assert (merged.path / row["artifact"] / "model.onnx").read_text() == f"{row['id']} search 0"
    study = study_of(trials=3, seed=0, repeat_share=1.0)
    again = Repeats(Search(study, merged))
    assert {trial: [row.seed for row in rows] for trial, rows in again.by_trial().items()} == {0: [2], 1: [2], 2: [2]}
    row = again._search.rows()[0]
    assert again._notes(row).seed == 3, "the next seed is one that nobody had"


def test_what_failed_in_one_run_and_not_in_another_did_not_fail(tmp_path: Path, by_hands: None) -> None:
    study = study_of(trials=3)
    first = searched(RunFolder(tmp_path / "a"), study, {1: State.FAILED})
    second = searched(RunFolder(tmp_path / "b"), study, {0: State.FAILED, 2: State.INFEASIBLE})
    rows = read(into(first, second), "trials")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3
    assert len({row["id"] for row in rows}) == 3
    for row in rows:
        evaluation = read_evaluation(tmp_path / "merged" / row["artifact"])
        assert evaluation is not None
        assert evaluation.state == "COMPLETE"


def test_what_is_unfinished_stays_behind_and_a_torn_record_too(tmp_path: Path, by_hands: None) -> None:
    first = searched(RunFolder(tmp_path / "a"), study_of(trials=3), unfinished=2)
    second = searched(RunFolder(tmp_path / "b"), study_of(trials=3, seed=5))
    checkpoint = next(second.path.rglob("evaluation.json")).with_name("checkpoint.pt")
    checkpoint.write_text("x")
    second.journal.write_bytes(second.journal.read_bytes() + b'{"op_code": 4, "work')
    before = second.journal.read_bytes()
    merged = into(first, second)
    assert second.journal.read_bytes() == before
    assert not list(merged.path.rglob("checkpoint.pt"))
    search = Search(study_of(trials=3), merged)
    assert search.waiting == []
    assert all(row.state == "COMPLETE" for row in search.rows())


def test_duplicates_stay_behind(tmp_path: Path, by_hands: None, script: by_hand.Script) -> None:
    one, two, three = by_hand.different(3)
    script([one, one, two, one, three])
    first = RunFolder(tmp_path / "a")
    first.path.mkdir()
    first.study.write_text(dump_study(study_of(trials=3)))
    drive(Search(study_of(trials=3), first))
    second = searched_of(tmp_path / "b", script, [three, one])
    rows = read(into(first, second), "trials")
    assert [row["id"] for row in rows] == [one.id, two.id, three.id]
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3


def searched_of(path: Path, script: by_hand.Script, candidates: list[Any]) -> RunFolder:
    script(candidates)
    return searched(RunFolder(path), study_of(trials=len(candidates)))


def test_rungs_are_of_their_trial_and_other_brackets_are_not_asked(tmp_path: Path, by_hands: None) -> None:
    """A trial's number says which rungs it has: under a new one they would be another's."""
    for brackets, kept in ((1, True), (2, False)):
        study = study_of(trials=2, rungs=(0.25, 0.5), brackets=brackets)
        folders = [searched(RunFolder(tmp_path / f"{name}{brackets}"), study) for name in "ab"]
        for folder in folders:
            text = folder.journal.read_text().replace('"attempts":1', '"attempts":1,"halving:rungs":{"0.25":[1,2,3]}')
            folder.journal.write_text(text)
        merge([folder.path for folder in folders], tmp_path / f"merged{brackets}")
        search = Search(
            study_of(trials=9, rungs=(0.25, 0.5), brackets=brackets), RunFolder(tmp_path / f"merged{brackets}")
        )
        assert ["halving:rungs" in trial.user_attrs for trial in search.journal.trials()] == [kept] * 2
        assert isinstance(search.propose(), Task)


def test_files_are_linked_or_copied(
    both: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    first, second = both
    (first.path / "reference").mkdir()
    (first.path / "reference" / "weights.safetensors").write_text("teacher")
    (first.path / "reference" / "lock").write_text("")
    merged = into(first, second)
    model = next(first.path.rglob("model.onnx"))
    assert (merged.path / model.relative_to(first.path)).stat().st_ino == model.stat().st_ino
    assert [file.name for file in (merged.path / "reference").iterdir()] == ["weights.safetensors"]

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    merge([first.path, second.path], tmp_path / "copied")
    copied = RunFolder(tmp_path / "copied")
    assert (copied.path / model.relative_to(first.path)).stat().st_ino != model.stat().st_ino
    assert {name: value for name, value in tree(copied).items() if name != "study.log"} == {
        name: value for name, value in tree(merged).items() if name != "study.log"
    }


def test_a_death_leaves_no_half_of_it(both: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = both

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("nas.commands.merge.write_journal", full)
        with pytest.raises(OSError, match="No space"):
            into(first, second)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    (tmp_path / "merged").mkdir()
    assert read(into(first, second), "trials")


@pytest.fixture
def pair(tmp_path: Path, by_hands: None) -> tuple[RunFolder, RunFolder]:
    return tuple(searched(RunFolder(tmp_path / name), study_of(trials=2)) for name in "ab")  # type: ignore[return-value]


def refused(pair: Pair, match: str, *, to: str = "merged") -> None:
    with pytest.raises(InputError, match=match) as error:
        merge([folder.path for folder in pair], pair[0].path.with_name(to))
    assert "Traceback" not in str(error.value)
    assert {path.name for path in pair[0].path.parent.iterdir()} <= {"a", "b", "full"}


def test_runs_of_other_studies_are_refused_with_the_difference(pair: Pair) -> None:
    pair[1].study.write_text(dump_study(study_of(trials=9, seed=3, sampler="tpe", workers=3, epochs=2)))
    refused(pair, r"b: is a run of another study than .*a:\n  search\.epochs: null -> 2$")


def test_other_splits_are_refused_with_the_files(pair: Pair) -> None:
    parts = [["a.png", "b.png"], ["a.png", "c.png"]]
    for folder, files in zip(pair, parts, strict=True):
        folder.split.write_text(json.dumps({"validation": files, "files": {"validation": files}}))
    refused(
        pair, r"b: has another split .* data\.split_seed\n  in validation: 1 no longer \(b\.png\), 1 newly \(c\.png\)"
    )


def test_a_split_that_an_older_version_recorded_shorter_is_the_same(pair: Pair) -> None:
    pair[0].split.write_text('{"validation": [1], "test": [2]}')
    pair[1].split.write_text('{"validation": [1], "test": [2], "digest": "ab"}')
    assert into(*pair).split.read_bytes() == pair[1].split.read_bytes()


def test_another_device_is_refused(pair: Pair) -> None:
    for file in pair[1].path.rglob("evaluation.json"):
        record = json.loads(file.read_text())
        record["measurement"]["latency"]["cpu"]["fingerprint"]["device"] = "another CPU"
        file.write_text(json.dumps(record))
    refused(pair, r"b: its latencies were measured in another way:\n  cpu: device: .* -> another CPU$")


def test_a_run_that_is_at_work_is_refused(pair: Pair) -> None:
    with sole_holder(pair[1].lock):
        refused(pair, "b: a `nas run` works in this folder")


def test_a_teacher_by_its_number_is_refused(pair: Pair) -> None:
    study = study_of(trials=2).model_dump(mode="json")
    for folder in pair:
        folder.study.write_text(json.dumps({**study, "finals": {**study["finals"], "teacher": 1}}))
    refused(pair, r"finals\.teacher: expected the folder of a network in runs that are merged, got the number 1")


def test_a_damaged_journal_is_named(pair: Pair) -> None:
    pair[1].journal.write_bytes(b"garbage\n" + pair[1].journal.read_bytes())
    refused(pair, r"b/study\.log, line 1: expected a record of the journal")
    whole = pair[0].journal.read_bytes()
    impossible = re.sub(rb'"params":\{"([^"]+)":\d+', rb'"params":{"\1":99', whole)
    assert impossible != whole
    for damaged, what in (
        (whole.replace(b'"params"', b'"x"'), "trial 0 of 't' cannot be used"),
        (whole.replace(b'"candidate"', b'"x"'), "a record cannot be"),
        (impossible, "a record cannot be"),
    ):
        pair[1].journal.write_bytes(damaged)
        refused((pair[1], pair[0]), rf"b.*: {what}")


def test_what_is_no_pair_of_runs(pair: Pair) -> None:
    refused((pair[0], pair[0]), r"a: expected every run once, got it twice")
    refused((pair[0],), r"DIR: expected two run folders or more, got 1")  # type: ignore[arg-type]
    refused((pair[0], RunFolder(pair[0].path / "artifacts")), r"artifacts: expected a run folder, with study\.yaml")
    full = pair[0].path.with_name("full")
    full.mkdir()
    (full / "file").write_text("")
    refused(pair, r"--to: expected a new or an empty folder, got .*full", to="full")


def test_the_command(both: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = both
    to = first.path.with_name("merged")
    to.mkdir()
    monkeypatch.chdir(to)
    cli.merge([first.path, second.path], Path())
    told = capsys.readouterr().out
    assert "a: 5 trials, 2 finalists, 2 references" in told
    assert "b: 7 trials, 3 repeats, 2 finalists, 2 known from another" in told
    assert (to / "report.html").exists()
    assert len(read(RunFolder(to), "trials")) == 12


def test_an_existing_network_comes_along_and_has_to_be_the_same(both: Pair, tmp_path: Path) -> None:
    one, other = (to_json({"base": "a:b"}, Known(blueprint)) for blueprint in (residual(), dense()))
    for folder in both:
        folder.network.write_text(one)
        folder.network_weights.write_bytes(b"weights")
    merge([folder.path for folder in both], tmp_path / "same")
    assert (tmp_path / "same" / "network.json").read_text() == one
    assert (tmp_path / "same" / "network.safetensors").read_bytes() == b"weights"
    both[1].network.unlink()
    both[1].network.write_text(other)
    with pytest.raises(InputError, match=r"is about another network than .*, though both name it alike"):
        merge([folder.path for folder in both], tmp_path / "other")
