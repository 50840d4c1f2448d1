"""Failed trials are queued again: a trial of its own, the same candidate, and nothing that was recorded is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas import cli
from nas.candidates.candidate import Candidate
from nas.commands.retry import retry
from nas.errors import InputError
from nas.files import sole_holder, write_atomically
from nas.records import Evaluation, State, score
from nas.run_folder.columns import trial_columns
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.driver import Done, Driver
from nas.search.finalists import Finalists
from nas.search.references import References
from nas.search.search import Search
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Task

OBJECTIVES = ("accuracy", "parameters", "macs")


def make_study(**search: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"preset": "8px"},
            "objectives": OBJECTIVES,
            "search": {"population": 4, "sampler": "nsga2", "trials": 6, "finalists": 2, **search},
            "training": {"epochs": 2},
        }
    )


def measurement(candidate: Candidate) -> dict[str, Any]:
    fingerprint = {"device": "", "instruction_sets": (), "runtime": "", "provider": "", "threads": 1, "batch": 1}
    latency = {"latency_ms": 1.0, "stable": True, "protocol": "", "reference_ms": 1.0, "passes_us": ()}
    costs = {"parameters": candidate.parameters(10), "macs": candidate.macs(10), "size_bytes": 1}
    target = {"cpu": {**latency, "fingerprint": fingerprint}}
    return {"origin": "shipped file", **costs, "peak_memory_bytes": 1, "latency": target}


def finish(driver: Driver, task: Task, state: State = State.COMPLETE) -> TrialRow:
    fields: dict[str, Any] = {"reason": "no luck"}
    if state is State.COMPLETE:
        fields = {"measurement": measurement(task.candidate), "validation": score(50 + task.number, 100)}
    evaluation = Evaluation(
        candidate_id=task.candidate.id, structure_id="", phase=task.phase, seed=task.seed, state=state,
        target="cpu", started_at="2030", attempts=task.attempt, **fields,
    )  # fmt: skip
    write_evaluation(task.folder, evaluation)
    return driver.finish(task, evaluation)


def run(driver: Driver, failing: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """To the end; tasks of these numbers fail."""
    while isinstance(task := driver.propose(), Task):
        finish(driver, task, State.FAILED if task.number in failing else State.COMPLETE)
    assert task == Done()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    write_atomically(run.study, dump_study(make_study()))
    return run


@pytest.fixture
def failed(folder: RunFolder) -> RunFolder:
    """A finished search in which trials 1 and 3 failed."""
    run(Search(make_study(), folder), {1, 3})
    return folder


def files(folder: RunFolder) -> dict[str, bytes]:
    root = folder.path / "artifacts"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_all_that_failed_is_evaluated_again(failed: RunFolder) -> None:
    before, rows = files(failed), Search(make_study(), failed).rows()
    queued = retry(failed.path)
    assert [(one.phase, one.failed, one.reason) for one in queued] == [("search", n, "no luck") for n in (1, 3)]
    search = Search(make_study(), failed)
    assert search.rows() == rows, "what was recorded stays"
    tasks = [search.propose(), search.propose()]
    for task, one in zip(tasks, queued, strict=True):
        assert isinstance(task, Task)
        old, failed_trial = search.notes(one.failed), search.journal.trials()[one.failed]
        assert (task.number, task.attempt) == (one.number, 1)
        assert (task.candidate.id, task.seed, task.epochs) == (old.id, old.seed, old.epochs)
        new = search.journal.trials()[task.number]
        assert new.params == failed_trial.params
        assert (
            new.system_attrs["ConditionalNSGAII:generation"]
            == failed_trial.system_attrs["ConditionalNSGAII:generation"]
        )
        row = finish(search, task)
        assert (row.state, row.retry_of) == ("COMPLETE", one.failed)
    assert search.rows()[: len(rows)] == rows
    assert search.count(State.COMPLETE) == 8
    assert "retry_of" in trial_columns(make_study())
    after = files(failed)
    aside = {name for name in after if name.endswith("evaluation.failed-1.json")}
    assert len(aside) == 2
    assert {json.loads(after[name])["state"] for name in aside} == {"FAILED"}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {name.replace(".failed-1", "") for name in aside}


def test_what_is_queued_already_is_not_called_unfailed(failed: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (failed.path / "trials.csv").touch()
    cli.retry(failed.path, None)
    first = capsys.readouterr().out.splitlines()
    assert len(first) == 3
    assert first[-1].startswith("Go on with:  nas run ")
    cli.retry(failed.path, None)
    assert capsys.readouterr().out == "Nothing failed that is not queued again already.\n"


def test_some_by_number_twice_and_again(failed: RunFolder) -> None:
    (queued,) = retry(failed.path, [3])
    with pytest.raises(InputError, match=f"got 3, which is queued again as trial {queued.number}"):
        retry(failed.path, [3])
    run(Search(make_study(), failed), {queued.number})
    (again,) = retry(failed.path, [queued.number])
    run(Search(make_study(), failed))
    folder = failed.artifact(Search(make_study(), failed).rows()[3].id, "search", 0)
    assert {file.name for file in folder.iterdir()} == {
        "evaluation.failed-1.json", "evaluation.failed-2.json", "evaluation.json",
    }  # fmt: skip
    evaluation = read_evaluation(folder)
    assert evaluation is not None
    assert evaluation.state is State.COMPLETE
    assert [one.failed for one in retry(failed.path)] == [1]
    assert again.number > queued.number


def test_only_what_failed(failed: RunFolder) -> None:
    before = failed.journal.read_bytes()
    for number, what in ((0, "COMPLETE"), (99, "does not exist")):
        with pytest.raises(InputError, match=f"expected a trial that FAILED, got {number}, which .*{what}"):
            retry(failed.path, [1, number])
    searched = failed.journal.read_bytes()[len(before) :]
    assert b"retry_of" not in searched
    assert not any("failed-1" in name for name in files(failed))


def test_a_repeated_candidate_meets_the_retry_and_not_the_failure(failed: RunFolder) -> None:
    (queued,) = retry(failed.path, [1])
    search = Search(make_study(), failed)
    candidate_id = search.notes(1).id
    assert search.first_of_each()[candidate_id, ()] == queued.number


def test_a_death_between_moving_the_record_and_queueing(failed: RunFolder) -> None:
    artifact = failed.artifact(Search(make_study(), failed).rows()[1].id, "search", 0)
    (artifact / "evaluation.json").rename(artifact / "evaluation.failed-1.json")
    queued = retry(failed.path, [1])
    run(Search(make_study(), failed))
    assert Search(make_study(), failed).rows()[queued[0].number].state == "COMPLETE"


def test_a_torn_journal_is_mended_first(failed: RunFolder) -> None:
    whole = failed.journal.read_bytes()
    failed.journal.write_bytes(whole + b'{"op_code": 4, "worker')
    (queued,) = retry(failed.path, [1])
    assert failed.journal.read_bytes().startswith(whole + b"{")
    run(Search(make_study(), failed))
    assert Search(make_study(), failed).rows()[queued.number].state == "COMPLETE"


def test_what_a_later_attempt_finished_stays(failed: RunFolder) -> None:
    """The journal of a failed trial may be behind its folder, after a death."""
    artifact = failed.artifact(Search(make_study(), failed).rows()[1].id, "search", 0)
    record = json.loads((artifact / "evaluation.json").read_text())
    (artifact / "evaluation.json").write_text(json.dumps({**record, "state": "INFEASIBLE"}))
    retry(failed.path, [1])
    assert [file.name for file in artifact.iterdir()] == ["evaluation.json"]


def test_finalists_too(failed: RunFolder) -> None:
    search, study = Search(make_study(), failed), make_study()
    finalists = Finalists(study, failed)
    finalists.choose(search)
    run(finalists, {0})
    (first, *_) = finalists.rows()
    (queued,) = retry(failed.path, [first.trial])
    assert (queued.phase, queued.failed) == ("final", first.trial)
    again = Finalists(study, failed)
    again.choose(search)
    run(again)
    rows = [row for row in again.rows() if row.trial == first.trial]
    assert [row.state for row in rows] == ["FAILED", "COMPLETE"]
    assert rows[1].artifact == rows[0].artifact
    assert len(again.rows()) == 3


def test_not_while_a_run_is_going_on(failed: RunFolder) -> None:
    before = failed.journal.read_bytes()
    with sole_holder(failed.lock), pytest.raises(InputError, match="another `nas run`"):
        retry(failed.path)
    assert failed.journal.read_bytes() == before


def test_a_retry_trains_with_the_same_searched_numbers(folder: RunFolder) -> None:
    study = make_study(trials=2, finalists=0)
    training = {"epochs": 2, "learning_rate": {"low": 0.01, "high": 0.1}}
    study = Study.model_validate({**study.model_dump(), "training": training})
    write_atomically(folder.study, dump_study(study))
    run(Search(study, folder), {0})
    before = Search(study, folder).notes(0).training
    (queued,) = retry(folder.path)
    task = Search(study, folder).propose()
    assert isinstance(task, Task)
    assert (task.number, task.training) == (queued.number, before)
    assert (task.folder / "evaluation.failed-1.json").exists()


def test_a_failed_baseline_goes_by_its_name_and_no_number_names_it(folder: RunFolder) -> None:
    study = make_study()
    folder.study.write_text(dump_study(study))
    run(Search(study, folder))
    references = References(study, folder)
    references.choose()
    run(references, failing={0})
    with pytest.raises(InputError, match="got 0, which is COMPLETE"):
        retry(folder.path, [0])
    (queued,) = retry(folder.path)
    assert (queued.phase, queued.failed, queued.number, queued.reason) == ("reference", "baseline fp32", 1, "no luck")
    again = References(study, folder)
    again.choose()
    run(again)
    assert [(row.reference, row.state, row.attempts) for row in again.rows()] == [
        ("baseline fp32", "COMPLETE", 1),
        ("baseline int8", "COMPLETE", 1),
    ]
    assert retry(folder.path) == []
