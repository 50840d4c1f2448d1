"""The journal written once more: with the same records it is the same search, with others they are what it knows."""

from __future__ import annotations

import pytest
from by_hand import drive, evaluated, finish, make_study, row, task_of
from optuna.trial import TrialState

import nas.search.modelled
from nas.measuring.again import with_latencies
from nas.records import Evaluation, State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.run_folder.rows import row_in
from nas.samplers.reached import RUNGS
from nas.search.finalists import Finalists
from nas.search.rewriting import candidates_in, rewritten, with_figures
from nas.search.search import Search
from nas.study import Study
from nas.tasks import Rung

pytestmark = pytest.mark.usefixtures("no_fsync")


def with_latency(study: Study) -> Study:
    return study.model_copy(update={"objectives": ("accuracy", "latency_ms")})


def thrice(evaluation: Evaluation, study: Study) -> Evaluation:
    assert evaluation.measurement is not None
    latency = evaluation.measurement.latency["cpu"]
    return with_latencies(evaluation, {"cpu": latency.model_copy(update={"latency_ms": 3 * latency.latency_ms})}, study)


@pytest.mark.parametrize("sampler", ["nsga2", "pareto"])
def test_a_copy_goes_on_as_the_original_does(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    monkeypatch.setattr(nas.search.modelled, "POOL_SIZE", 60)
    monkeypatch.setattr(nas.search.modelled, "STARTUP", 4)
    study = with_latency(make_study(trials=10, sampler=sampler, calibration=0.0, finalists=2))
    search = Search(study, folder)
    for _ in range(7):
        finish(search, task_of(search))
    task_of(search)
    finalists = Finalists(study, folder)
    finalists.choose(search)
    known = Search(study, folder).rows(), finalists.journal.trials()
    copied = rewritten(folder, study, lambda _: None)
    before = folder.journal.read_text()
    expected = [task_of(Search(study, folder)).candidate.id, drive(Search(study, folder)).problem]
    ended = [one.candidate.id for one in map(Search(study, folder).notes, range(10))]
    folder.journal.write_text(copied)
    for record in (folder.path / "artifacts").glob("*/search-*/evaluation.json"):
        if record.parent.parent.name not in {one.id for one in known[0]}:
            record.unlink()
    again = Search(study, folder)
    assert again.rows() == known[0]
    finalists = Finalists(study, folder)  # each counts one more attempt
    assert [again.notes(number).id for number in range(2)] == [search.notes(number).id for number in range(2)]
    assert [trial.user_attrs["id"] for trial in finalists.journal.trials()] == [
        trial.user_attrs["id"] for trial in known[1]
    ]
    assert [task_of(again).candidate.id, drive(Search(study, folder)).problem] == expected
    assert [one.candidate.id for one in map(Search(study, folder).notes, range(10))] == ended
    assert copied.count("\n") < before.count("\n")


def test_rows_values_and_constraints_follow_the_records(folder: RunFolder) -> None:
    study = with_latency(make_study(trials=6, constraints={"latency_ms": 0.05}))
    search = Search(study, folder)
    drive(search)
    before = search.journal.trials()

    def given(artifact: str) -> Evaluation | None:
        record = read_evaluation(folder.path / artifact)
        return None if record is None else thrice(record, study)

    folder.journal.write_text(rewritten(folder, study, given))
    after = Search(study, folder)
    changed = set()
    for old, new in zip(before, after.journal.trials(), strict=True):
        was, now = row_in(old.user_attrs), row_in(new.user_attrs)
        assert was is not None
        assert now is not None
        slow = 3 * was.costs["latency_ms"]
        assert (new.state, new.params, new.values[0]) == (TrialState.COMPLETE, old.params, old.values[0])
        assert new.values[1] == now.costs["latency_ms"] == pytest.approx(slow)
        assert new.constraints == {"latency_ms": pytest.approx(slow / 0.05 - 1)}
        assert (now.state is State.INFEASIBLE) is (slow > 0.05) or now.state is State.DUPLICATE
        assert {**now.costs, "latency_ms": 0} == {**was.costs, "latency_ms": 0}
        changed.add((was.state, now.state))
    assert (State.COMPLETE, State.INFEASIBLE) in changed


def test_what_was_reached_at_rungs_follows_too(folder: RunFolder) -> None:
    study = with_latency(make_study(trials=3, rungs=(0.5,)))
    search = Search(study, folder)
    task = task_of(search)
    search.report(task, Rung(4, 8, 0.5, {"accuracy": 0.5, "latency_ms": 7.0}))
    own = task.at_rung(0.5)
    place, record = folder.relative(own.folder), evaluated(own, study)
    copied = rewritten(folder, study, lambda name: thrice(record, study) if name == place else None)
    folder.journal.write_text(copied)
    (noted,) = Search(study, folder).journal.trials()[0].user_attrs[RUNGS].values()
    assert record.measurement is not None
    assert noted == [0.5, pytest.approx(3 * record.measurement.latency["cpu"].latency_ms)]


def test_a_duplicate_stays_one(folder: RunFolder) -> None:
    study = with_latency(make_study(trials=1))
    search = Search(study, folder)
    finish(search, task_of(search))
    record = read_evaluation(search._task(0).folder)
    assert record is not None
    duplicate = row(5, 0.5, 1, 1, state="DUPLICATE", reason="same candidate as trial 0")
    found = with_figures(duplicate, thrice(record, study))
    assert (found.state, found.reason, found.number) == (State.DUPLICATE, duplicate.reason, 5)
    assert found.costs["latency_ms"] == pytest.approx(3 * search.rows()[0].costs["latency_ms"])


def test_candidates_are_known_by_their_ids(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    drive(search)
    found = candidates_in(folder.journal)
    assert found == {row.id: search.notes(row.number).candidate.to_json() for row in search.rows()}
