from __future__ import annotations

import pytest
from tracked import Example

pytest.importorskip("mlflow")

from mlflow import MlflowClient
from mlflow.entities import Run

from nas.tracking.mlflow import PARENT, MLflow, allowed, open_mlflow
from nas.tracking.record import begun, finished
from nas.tracking.tracker import artifacts_of, tracked_run


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose tables are made once: that takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # artifacts go where it is made
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return str(folder)


@pytest.fixture(autouse=True)
def store_here(database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Every test has an experiment of its own in it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)


def opened(example: Example) -> MLflow:
    return open_mlflow(tracked_run(example.study, example.folder))


def runs(request: pytest.FixtureRequest) -> tuple[list[Run], list[Run]]:
    """Parents and children."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(request.node.name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return [run for run in found if PARENT not in run.data.tags], [run for run in found if PARENT in run.data.tags]


def test_a_run_with_a_child_for_every_trial(example: Example, request: pytest.FixtureRequest) -> None:
    store = opened(example)
    store.begin(begun(example.tasks[0], example.folder.relative(example.tasks[0].folder)))
    store.progress("search-0", 1.0, {"loss": 0.5, "latency_ms@pi5": 2.0})
    store.progress("search-9", 1.0, {"loss": 0.5})  # of which nothing was heard
    store.end(finished("search", example.rows[0], example.study))
    store.end(finished("search", example.rows[1], example.study))
    store.total(2, {"best/accuracy": 0.5})
    store.close(artifacts_of(example.folder), is_over=True)
    (parent,), children = runs(request)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"best/accuracy": 0.5}
    assert {file.path for file in MlflowClient().list_artifacts(parent.info.run_id)} == {
        "front.csv", "report.html", "study.yaml",
    }  # fmt: skip
    first, second = sorted(children, key=lambda child: str(child.info.run_name))
    assert {child.data.tags[PARENT] for child in children} == {parent.info.run_id}
    assert first.info.run_name == f"trial 0 {example.rows[0].id[:8]}"
    assert first.data.params == {"head.width": "16", "head.weight_format": "int8", "seed": "0"}
    assert first.data.metrics["accuracy"] == example.rows[0].accuracy
    assert first.data.metrics["latency_ms/pi5"] == 2.0
    assert first.data.tags["artifact"] == example.rows[0].artifact
    assert (first.info.status, first.data.tags["compact_nas.state"]) == ("FINISHED", "COMPLETE")
    assert (second.info.status, second.data.tags["reason"]) == ("FAILED", "training diverged: loss")


def test_a_restart_doubles_nothing(example: Example, request: pytest.FixtureRequest) -> None:
    for _ in range(2):
        store = opened(example)
        store.begin(begun(example.tasks[2], "artifacts/x"))
        store.end(finished("search", example.rows[0], example.study))  # told twice: it died in between
    (parent,), children = runs(request)
    assert parent.info.status == "RUNNING"
    assert len(children) == 2
    ended = next(child for child in children if child.data.tags["compact_nas.key"] == "search-0")
    assert len(MlflowClient().get_metric_history(ended.info.run_id, "accuracy")) == 1
    again = opened(example)
    assert again.has("search-0")
    assert not again.has("search-2")  # it has begun only


def test_more_children_than_a_page(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.tracking.mlflow.PAGE", 1)
    store = opened(example)
    for row in example.rows[:2]:
        store.end(finished("search", row, example.study))
    again = opened(example)
    assert again.has("search-0")
    assert again.has("search-1")


def test_more_genes_than_a_request_takes(example: Example, request: pytest.FixtureRequest) -> None:
    from dataclasses import replace

    trial = finished("search", example.rows[0], example.study)
    params = {f"gene{number}": str(number) for number in range(250)}
    opened(example).end(replace(trial, params=params))
    _, (child,) = runs(request)
    assert child.data.params == params


def test_a_name_that_mlflow_refuses_is_written_otherwise() -> None:
    assert allowed("latency_ms@pi5") == "latency_ms/pi5"
    assert allowed("stage1.block0-x y") == "stage1.block0-x y"
    assert allowed("a*b") == "a_b"
