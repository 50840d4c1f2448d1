"""Earlier runs: what is read of them, that it is copied, and which folders are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from by_hand import drive, evaluated, make_study, task_of
from by_hand import finish as finish_task
from drafts import dense, residual
from known_networks import study_about

import nas.search.modelled
from nas.errors import InputError
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.columns import trial_columns
from nas.run_folder.network import keep_network
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import write_rows
from nas.search.earlier import earlier_runs, trials_of
from nas.search.search import Search
from nas.study import Study
from nas.study.file import dump_study
from search_spaces.existing import known
from search_spaces.existing.edits import with_grey_input

pytestmark = pytest.mark.usefixtures("no_fsync")


def ran(path: Path, **search: int) -> Search:
    """A run of four complete trials, and one each that failed and that disagrees with its network."""
    folder = RunFolder(path)
    folder.path.mkdir()
    search_ = Search(make_study(trials=5, **search), folder)
    finish_task(search_, task_of(search_), State.FAILED)
    finish_task(search_, task_of(search_), flags=("parity",))
    drive(search_)
    for row in search_.rows():
        candidate = search_.notes(row.number).candidate
        write_atomically(folder.path / row.artifact / "candidate.json", json.dumps(candidate.to_json()))
    write_rows(folder.trials, trial_columns(search_.study), search_.rows())
    write_atomically(folder.study, dump_study(search_.study))
    return search_


def warmed(*folders: str | Path, **options: object) -> Study:
    """A study that begins with what these folders hold."""
    study = make_study()
    search = study.search.model_copy(update={"warm_start": tuple(map(str, folders)), **options})
    return study.model_copy(update={"search": search})


def test_complete_trials_are_read_with_their_accuracies(tmp_path: Path, folder: RunFolder) -> None:
    earlier = ran(tmp_path / "earlier", seed=3)
    (run,) = earlier_runs(warmed(tmp_path / "earlier"), folder)
    able = [row for row in earlier.rows() if row.state is State.COMPLETE and not row.flags]
    assert [(t.candidate.id, t.qualities["accuracy"]) for t in run.trials] == [(r.id, r.accuracy) for r in able]
    assert len(run.trials) == 4
    assert [value for _, _, value in trials_of([run], "accuracy")] == [r.accuracy for r in able]
    assert not list(trials_of([run], "macro_f1"))


def test_a_restart_reads_the_copy(tmp_path: Path, folder: RunFolder) -> None:
    ran(tmp_path / "a")
    ran(tmp_path / "b", seed=1)
    study = warmed(tmp_path / "a", tmp_path / "b")
    first = earlier_runs(study, folder)
    assert [run.folder for run in first] == [str(tmp_path / "a"), str(tmp_path / "b")]
    shutil.rmtree(tmp_path / "a")
    again = earlier_runs(study, folder)
    assert again == first
    assert [t.candidate for t in again[0].trials] == [t.candidate for t in first[0].trials]


def test_nothing_is_read_or_written_where_no_run_is_named(folder: RunFolder) -> None:
    assert earlier_runs(make_study(), folder) == []
    assert not folder.earlier.exists()


def test_what_is_no_run_folder_is_refused_by_its_key(tmp_path: Path, folder: RunFolder) -> None:
    ran(tmp_path / "earlier")
    with pytest.raises(InputError, match=r"^search\.warm_start\[1\]: expected a run folder, .*, got '/no/where'$"):
        earlier_runs(warmed(tmp_path / "earlier", "/no/where"), folder)
    assert not folder.earlier.exists()
    with pytest.raises(InputError, match=r"search\.warm_start\[0\]: '\$NO_SUCH/x' names an environment variable"):
        earlier_runs(warmed("$NO_SUCH/x"), folder)
    (tmp_path / "earlier/study.yaml").unlink()
    with pytest.raises(InputError, match=r"search\.warm_start\[0\]: expected a run folder"):
        earlier_runs(warmed(tmp_path / "earlier"), folder)


def test_its_own_folder_and_a_run_without_complete_trials_are_refused(tmp_path: Path) -> None:
    earlier = ran(tmp_path / "earlier")
    with pytest.raises(InputError, match="this run's own"):
        earlier_runs(warmed(tmp_path / "earlier"), earlier.folder)
    other = RunFolder(tmp_path / "other")
    write_rows(earlier.folder.trials, trial_columns(earlier.study), earlier.rows()[:1])
    with pytest.raises(InputError, match=r"search\.warm_start\[0\]: expected a run with complete trials, got .*none$"):
        earlier_runs(warmed(tmp_path / "earlier"), other)


def test_damaged_records_are_named(tmp_path: Path, folder: RunFolder) -> None:
    earlier = ran(tmp_path / "earlier")
    study = warmed(tmp_path / "earlier")
    artifact = earlier.folder.path / earlier.rows()[-1].artifact
    (artifact / "candidate.json").write_text("{}")
    with pytest.raises(InputError, match=r"candidate\.json: expected the record of a candidate"):
        earlier_runs(study, folder)
    (artifact / "candidate.json").unlink()
    with pytest.raises(InputError, match=r"candidate\.json: is gone"):
        earlier_runs(study, folder)
    earlier.folder.trials.write_text("number,state\n0,COMPLETE\n")
    with pytest.raises(InputError, match=r"trials\.csv: expected a table of trials"):
        earlier_runs(study, folder)
    folder.earlier.write_text('{"schema": 1, "runs": [{}]}')
    with pytest.raises(InputError, match=r"earlier\.json: expected what was copied"):
        earlier_runs(study, folder)


def test_the_accuracies_of_earlier_runs_are_no_results(tmp_path: Path, folder: RunFolder) -> None:
    ran(tmp_path / "earlier")
    study = warmed(tmp_path / "earlier")
    earlier_runs(study, folder)
    search = Search(study, folder)
    assert not search.rows()
    assert evaluated(task_of(search), study).phase == "search"


def ids(search: Search) -> list[str]:
    return [search.notes(trial.number).id for trial in search.journal.trials()]


def test_a_warmed_search_asks_the_same_after_a_restart(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model decides as soon as there are three trials; a cold one waits for eight."""
    monkeypatch.setattr(nas.search.modelled, "POOL_SIZE", 60)
    ran(tmp_path / "earlier")
    study = warmed(tmp_path / "earlier", sampler="pareto", trials=5)
    whole = Search(study, folder)
    drive(whole)
    assert [row.expected_gain is not None for row in whole.rows()] == [False] * 3 + [True] * 2
    again = RunFolder(tmp_path / "again")
    again.path.mkdir()
    interrupted = Search(study, again)
    for _ in range(4):
        finish_task(interrupted, task_of(interrupted))
    shutil.rmtree(tmp_path / "earlier")
    resumed = Search(study, again)
    drive(resumed)
    assert ids(resumed) == ids(whole)


def test_an_existing_network_is_known_from_the_copy_when_its_run_is_gone(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates name it by digest alone."""
    free = {"weight_format": ["fp32", "int8", "int4"], "granularity": "layer"}
    study = study_about(residual(), compression=free, search={"sampler": "nsga2", "trials": 3})
    earlier = RunFolder(tmp_path / "earlier")
    earlier.path.mkdir()
    search = Search(study, earlier)
    drive(search)
    for row in search.rows():
        candidate = search.notes(row.number).candidate
        write_atomically(earlier.path / row.artifact / "candidate.json", json.dumps(candidate.to_json()))
    write_rows(earlier.trials, trial_columns(study), search.rows())
    write_atomically(earlier.study, dump_study(study))
    keep_network(study, earlier)
    monkeypatch.setattr(known, "_blueprints", {})
    asked = study.space.asked(1)  # type: ignore[union-attr]
    changed = known.remember(asked, known.Known(with_grey_input(dense())))
    (run,) = earlier_runs(warmed(earlier.path), folder)
    assert known.known_as(asked) == changed, "the code has changed since, which the new study goes by"
    shutil.rmtree(earlier.path)
    monkeypatch.setattr(known, "_blueprints", {})
    (copied,) = earlier_runs(warmed(earlier.path), folder)
    assert copied == run
    complete = [row.id for row in search.rows() if row.state is State.COMPLETE]
    assert [trial.candidate.id for trial in copied.trials] == complete
