"""One trial in a worker of Tune: what is reported, and what travels with it. No Ray runs."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray.tune
from by_hand import different, evaluated, make_study
from drafts import residual
from hypothesis import given
from hypothesis import strategies as st
from known_networks import study_about

import nas.integrations.tune_trial
from nas.candidates.baseline import baseline_candidate
from nas.data import load
from nas.errors import InputError, PlaceLost
from nas.integrations.tune_trial import (
    Order,
    _evaluated,
    evaluate_trial,
    metrics_of,
    packed,
    result_of,
    rung_of,
    unpacked,
)
from nas.records import State
from nas.run_folder.network import keep_network
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import CHECKPOINT_FILE, Rung, Task
from nas.workbench import Workbench
from search_spaces.existing import known

OBJECTIVES = ("accuracy", "parameters", "size_bytes")


def flat(metrics: dict[str, Any], above: str = "") -> dict[str, Any]:
    """What schedulers see: keys of nested dictionaries joined by a slash."""
    found: dict[str, Any] = {}
    for key, value in metrics.items():
        found |= flat(value, f"{above}{key}/") if isinstance(value, dict) else {above + key: value}
    return found


def task_in(path: Path, *, rungs: tuple[float, ...] = ()) -> Task:
    candidate = different(1)[0]
    return Task(3, candidate, "search", 1, 6, RunFolder(path).artifact(candidate.id, "search", 1), rungs=rungs)


scores = st.dictionaries(st.sampled_from(["accuracy", "size_bytes", "latency_ms@pi5"]), st.floats(0, 9), min_size=1)


@given(epochs=st.floats(0, 6), share=st.none() | st.floats(0.1, 0.9), scores=scores, copy_epochs=st.floats(0, 2))
def test_a_rung_comes_back_as_it_was(
    epochs: float, share: float | None, scores: dict[str, float], copy_epochs: float
) -> None:
    rung = Rung(epochs, 6) if share is None else Rung(epochs, 6, share, scores, copy_epochs)
    metrics = metrics_of(task_in(Path("/run")), OBJECTIVES, rung)
    assert rung_of(flat(metrics)) == rung
    assert all(math.isnan(metrics[name]) for name in OBJECTIVES)  # never beside those of finished networks


def test_a_result_has_qualities_only_where_it_is_complete(tmp_path: Path) -> None:
    task, study = task_in(tmp_path), make_study()
    complete = evaluated(task, study)
    assert complete.validation is not None
    metrics = result_of(task, OBJECTIVES, complete)
    assert (metrics["state"], metrics["number"]) == ("COMPLETE", 3)
    assert metrics["accuracy"] == complete.validation.accuracy
    assert metrics["size_bytes"] == task.candidate.weight_bytes(10)
    pruned = complete.model_copy(update={"state": State.PRUNED})
    assert math.isnan(result_of(task, OBJECTIVES, pruned)["accuracy"])
    failed = evaluated(task, study, State.FAILED, reason="no memory")
    metrics = result_of(task, OBJECTIVES, failed)
    assert (metrics["state"], metrics["reason"]) == ("FAILED", "no memory")
    assert math.isnan(metrics["parameters"])


def test_what_is_packed_comes_out_elsewhere(tmp_path: Path) -> None:
    here, there = task_in(tmp_path / "here", rungs=(0.5,)), task_in(tmp_path / "there", rungs=(0.5,))
    here.folder.mkdir(parents=True)
    (here.folder / CHECKPOINT_FILE).write_bytes(b"weights")
    rung = here.at_rung(0.5).folder
    rung.mkdir()
    (rung / "evaluation.json").write_bytes(b"{}")
    (here.folder / "link").symlink_to("/etc/passwd")
    place = packed(here, tmp_path / "parcel")
    unpacked(place, there)
    assert (there.folder / CHECKPOINT_FILE).read_bytes() == b"weights"
    assert (there.at_rung(0.5).folder / "evaluation.json").read_bytes() == b"{}"
    (there.folder / CHECKPOINT_FILE).write_bytes(b"newer")
    unpacked(place, there)
    assert (there.folder / CHECKPOINT_FILE).read_bytes() == b"newer"


def test_what_has_come_further_elsewhere_replaces_what_is_there(tmp_path: Path) -> None:
    """A trial paused at its second rung on a node that shares no disk, and what the first left with the driver."""
    rungs = (0.25, 0.5)
    here, there = task_in(tmp_path / "here", rungs=rungs), task_in(tmp_path / "there", rungs=rungs)
    for share in rungs:
        here.folder.mkdir(parents=True, exist_ok=True)
        (here.folder / CHECKPOINT_FILE).write_bytes(f"at {share}".encode())
        here.at_rung(share).folder.mkdir()
        (here.at_rung(share).folder / "evaluation.json").write_bytes(b"{}")
        unpacked(packed(here, tmp_path / f"parcel {share}"), there)
        assert (there.folder / CHECKPOINT_FILE).read_bytes() == f"at {share}".encode()
    unpacked(tmp_path / "parcel 0.25", there)  # what Tune remembers may be older
    assert (there.folder / CHECKPOINT_FILE).read_bytes() == b"at 0.5"


@pytest.mark.parametrize(
    ("failing", "error", "said"),
    [
        ("bench_of", InputError("no token"), {"refused": "no token"}),
        ("_evaluated", PlaceLost("nobody measures"), {"broke": "nobody measures"}),
        ("_evaluated", RuntimeError("No space left on device (x)"), {"broke": "No space left on device"}),
    ],
)
def test_what_no_candidate_is_to_blame_for_is_said(
    failing: str, error: Exception, said: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray.tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.tune, "report", heard.append)
    for name, stand_in in {"_cpus": lambda: 1.0, "bench_of": lambda *_: None, failing: fails}.items():
        monkeypatch.setattr(nas.integrations.tune_trial, name, stand_in)
    order = Order(task_in(tmp_path / "run"), failing).to_json()
    evaluate_trial({"order": order}, dump_study(make_study()), str(tmp_path))
    assert heard == [{"number": 3, **said}]


def test_a_worker_knows_an_existing_network_by_the_run_folder_or_says_that_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate only names its network, by a digest."""
    study = study_about(residual())
    folder = RunFolder(tmp_path / "run")
    keep_network(study, folder)
    candidate = baseline_candidate(study)
    task = replace(task_in(folder.path), candidate=candidate, folder=folder.artifact(candidate.id, "search", 1))
    config, heard, benches = {"order": Order(task, "w").to_json()}, list[dict[str, Any]](), list[object]()

    def bench(*_: object) -> None:
        benches.append(known.blueprint_of(candidate.architecture.network))  # type: ignore[union-attr]
        raise InputError("that will do")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray.tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.tune, "report", heard.append)
    for name, stand_in in {"_cpus": lambda: 1.0, "bench_of": bench}.items():
        monkeypatch.setattr(nas.integrations.tune_trial, name, stand_in)
    for there in (True, False):
        for table in ("_blueprints", "_read"):
            monkeypatch.setattr(known, table, {})
        if not there:
            folder.network.unlink()
        evaluate_trial(config, dump_study(study), str(tmp_path))
    assert len(benches) == 1
    assert heard[0] == {"number": 3, "refused": "that will do"}
    assert heard[1]["refused"].startswith(f"{folder.path}: expected network.json")


class Killed(BaseException):
    """What stands for Tune's end of a thread."""


def test_a_training_ends_at_a_rung_with_its_checkpoint_and_goes_on_elsewhere(tmp_path: Path) -> None:
    settings = make_study(training={"epochs": 4}, trials=2).model_dump()
    study = Study.model_validate(settings | {"data": {"source": "digits", "train_images": 100}})
    data = load(study.data, input_size=8, seed=0)
    task = replace(task_in(tmp_path / "here", rungs=(0.5,)), epochs=4)
    heard: list[tuple[float, bool]] = []
    parcel = tmp_path / "parcel"

    def report(metrics: dict[str, Any], checkpoint: Any = None) -> None:
        heard.append((metrics["epochs"], checkpoint is not None))
        if checkpoint is not None and not parcel.exists():
            with checkpoint.as_directory() as place:
                packed(replace(task, folder=Path(place) / "evaluation"), parcel)
            assert rung_of(flat(metrics)).share == 0.5
            raise Killed

    parcels = tmp_path / "parcels"
    with pytest.raises(Killed):
        _evaluated(task, Workbench(study, data), parcels, report)
    assert heard == [(1, False), (2, True)]
    assert (parcel / "evaluation" / CHECKPOINT_FILE).exists()

    elsewhere = replace(task_in(tmp_path / "there", rungs=(0.5,)), epochs=4)
    unpacked(parcels / "0.5", elsewhere)
    heard.clear()
    evaluation = _evaluated(elsewhere, Workbench(study, data), tmp_path / "others", report)
    assert heard == [(2, True), (3, False), (4, False)]  # the rung is said again, and not trained again
    assert (evaluation.state, evaluation.epochs) == (State.COMPLETE, 4)
    assert read_evaluation(elsewhere.folder) == evaluation
