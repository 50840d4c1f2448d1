"""The driver behind Tune's searcher and scheduler, without Ray: what Tune remembers never does work again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from by_hand import evaluated, make_study, read
from rich.console import Console

from nas.errors import InputError
from nas.files import sole_holder
from nas.integrations.tune_session import Standing, TuneSession
from nas.integrations.tune_trial import MARK, OWN, RUNGS, Order
from nas.records import State
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.run_folder.rungs import last_record
from nas.search.driver import WAIT, Done
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Rung, Task, Verdict

QUIET = Console(quiet=True)
COSTS = {"parameters": 100.0, "size_bytes": 100.0}


@pytest.fixture
def study() -> Study:
    return make_study(trials=3, sampler="random", finalists=0, rungs=(0.5,))


@pytest.fixture
def session(study: Study, folder: RunFolder) -> Iterator[TuneSession]:
    session = TuneSession(study, folder.path, console=QUIET)
    yield session
    session.abandon()


def again(session: TuneSession) -> TuneSession:
    """As after a death of the driver."""
    session.abandon()
    return TuneSession(session.study, session.driver.folder.path, console=QUIET)


def proposed(session: TuneSession) -> Task:
    task = session.propose()
    assert isinstance(task, Task)
    return task


def files_of(task: Task, session: TuneSession, place: Path) -> Path:
    """What comes back from a worker that shares no disk."""
    write_evaluation(place / OWN, evaluated(task, session.study))
    (place / OWN / "model.onnx").write_bytes(b"a model")
    return place


def half(task: Task, accuracy: float) -> Rung:
    return Rung(4, 8, 0.5, {"accuracy": accuracy, **COSTS}, 0.5)


def test_the_files_of_a_trial_come_into_the_run_folder(session: TuneSession, tmp_path: Path) -> None:
    task = proposed(session)
    session.over(task.number, files_of(task, session, tmp_path / "parcel"))
    (row,) = read(session.driver.folder, "trials")
    assert (row["number"], row["state"], row["id"]) == ("0", "COMPLETE", task.candidate.id)
    assert (session.driver.folder.path / row["artifact"] / "model.onnx").read_bytes() == b"a model"
    session.over(task.number, None)  # told once, however often Tune says so
    assert len(read(session.driver.folder, "trials")) == 1


def test_files_of_another_candidate_are_no_result(session: TuneSession, tmp_path: Path) -> None:
    task, other = proposed(session), proposed(session)
    session.over(task.number, files_of(other, session, tmp_path / "parcel"))
    assert session.driver.rows() == []
    assert session.driver.notes(task.number).deaths == 1
    assert proposed(session).number == task.number


def test_no_more_run_than_asked_for_and_paused_ones_do_not_count(session: TuneSession) -> None:
    session.most = 1
    task = proposed(session)
    assert session.propose() is WAIT
    assert session.report(task.number, half(task, 0.5)) is Verdict.PAUSE
    assert proposed(session).number != task.number


def test_the_best_paused_trial_is_promoted_and_not_proposed_as_a_new_one(session: TuneSession) -> None:
    worse, better = proposed(session), proposed(session)
    assert session.report(worse.number, half(worse, 0.2)) is Verdict.PAUSE
    assert not session.is_promoted(worse.number)
    verdict = session.report(better.number, half(better, 0.9))
    if verdict is Verdict.PAUSE:
        assert session.propose() is WAIT
        assert session.is_promoted(better.number)
        assert session.report(better.number, half(better, 0.9)) is Verdict.CONTINUE  # said once more by its worker
    assert not session.is_promoted(worse.number)


def test_what_a_paused_trial_has_reached_elsewhere_is_kept(session: TuneSession, tmp_path: Path) -> None:
    task = proposed(session)
    session.report(task.number, half(task, 0.5))
    rung = task.at_rung(0.5)
    record = evaluated(rung, session.study, epochs=4)
    write_evaluation(tmp_path / RUNGS / rung.folder.name, record)
    session.keep(task.number, tmp_path)
    assert last_record(task) == record


def test_what_tune_remembers_stands_as_the_journal_says(session: TuneSession, tmp_path: Path) -> None:
    finished, paused, unfinished = (proposed(session) for _ in range(3))
    session.over(finished.number, files_of(finished, session, tmp_path / "parcel"))
    session.report(paused.number, half(paused, 0.1))
    session = again(session)
    standings = [session.stand(task.number) for task in (finished, paused, unfinished)]
    assert standings == [Standing.OVER, Standing.PAUSED, Standing.RUNS]
    assert session.task(unfinished.number).attempt == 2
    assert session.stand(unfinished.number) is Standing.OVER  # another trial of Tune's has it
    assert session.stand(99) is Standing.OVER
    session.abandon()


def test_what_tune_has_forgotten_is_proposed_again(session: TuneSession) -> None:
    task = proposed(session)
    session = again(session)
    found = proposed(session)
    assert (found.number, found.candidate, found.attempt) == (task.number, task.candidate, 2)
    session.abandon()


def test_the_third_death_is_the_last(session: TuneSession) -> None:
    number = proposed(session).number
    for _ in range(2):
        session.died(number, "killed")
        assert proposed(session).number == number
    session.died(number, "killed")
    (row,) = session.driver.rows()
    assert (row.state, row.reason) == (State.FAILED, "killed (death 3)")
    session.died(number, "killed")
    assert len(session.driver.rows()) == 1


def test_a_trial_that_tune_stops_is_pruned_with_its_reason(session: TuneSession, tmp_path: Path) -> None:
    task = proposed(session)
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN / CHECKPOINT_FILE).write_bytes(b"weights")
    session.over(task.number, tmp_path)
    (row,) = session.driver.rows()
    assert (row.state, row.reason) == (State.PRUNED, "stopped by Ray Tune")
    assert not (task.folder / CHECKPOINT_FILE).exists()


def test_what_tune_drops_is_proposed_again_and_blames_nobody(session: TuneSession) -> None:
    task = proposed(session)
    session.dropped(task.number)
    assert proposed(session).number == task.number
    assert session.driver.notes(task.number).deaths == 0


def test_time_runs_while_a_trial_does(study: Study, folder: RunFolder) -> None:
    hurried = study.model_copy(update={"search": study.search.model_copy(update={"trial_minutes": 1e-9})})
    session = TuneSession(hurried, folder.path, console=QUIET)
    number = proposed(session).number
    assert not session.late(number)  # its clock starts here
    assert session.late(number)
    assert not session.late(number)
    (row,) = session.driver.rows()
    assert row.state is State.FAILED
    assert "trial_minutes" in row.reason
    session.abandon()


def test_at_the_end_the_front_stands_and_the_folder_is_free(session: TuneSession, tmp_path: Path) -> None:
    folder = session.driver.folder
    with pytest.raises(InputError, match="another"), sole_holder(folder.lock):
        pass
    while isinstance(answer := session.propose(), Task):
        session.over(answer.number, files_of(answer, session, tmp_path / f"{answer.number}"))
    assert answer == Done()
    assert session.propose() == Done()
    assert len(read(folder, "trials")) == 3
    assert read(folder, "front")
    assert not (folder.path / MARK).exists()
    with sole_holder(folder.lock):
        pass


def test_an_order_says_where_a_shared_disk_would_have_the_files(session: TuneSession) -> None:
    task = proposed(session)
    order = Order.from_json(session.order(task))
    assert order.task == task
    assert order.run == session.driver.folder.path
    assert (order.run / MARK).read_text() == order.word


def test_a_folder_of_another_study_is_refused_and_left_free(session: TuneSession, folder: RunFolder) -> None:
    session.abandon()
    with pytest.raises(InputError, match=r"search\.seed"):
        TuneSession(make_study(trials=3, sampler="random", rungs=(0.5,), seed=5), folder.path, console=QUIET)
    with sole_holder(folder.lock):
        pass
    shutil.rmtree(folder.path)
