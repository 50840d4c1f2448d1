"""MLflow: one run for the study, a child run for every evaluation, the front and the report as its artifacts.

Where the server is, and who asks, are MLflow's own settings in the environment: MLFLOW_TRACKING_URI (by default what
MLflow takes, a file mlflow.db here), MLFLOW_EXPERIMENT_NAME (by default the study's name), MLFLOW_TRACKING_USERNAME
and MLFLOW_TRACKING_PASSWORD. None of them is written into a file of ours.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from nas.records import State
from nas.tracking.record import Tracked
from nas.tracking.tracker import TrackedRun

PARENT, KEY, STATE = "mlflow.parentRunId", "compact_nas.key", "compact_nas.state"
PAGE = 1000  # runs of one answer
AT_ONCE = 90  # parameters, tags and metrics of one request: MLflow takes a hundred
MOST_CHARACTERS = 4000  # of a tag
ENDINGS = {State.FAILED: "FAILED", State.PRUNED: "KILLED"}


def open_mlflow(run: TrackedRun) -> MLflow:
    """A row of TRACKERS."""
    return MLflow(MlflowClient(), run)


class MLflow:
    """A run of MLflow, found again by the run's key, its children by theirs."""

    def __init__(self, client: MlflowClient, run: TrackedRun) -> None:
        self._client = client
        self._experiment = _experiment(client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.study.name)
        self._parent = self._found_or_made(run)
        self._children: dict[str, str] = {}
        self._ended: set[str] = set()
        for child in self._runs(f"tags.`{PARENT}` = '{self._parent}'"):
            key = child.data.tags.get(KEY, "")
            self._children[key] = child.info.run_id
            if STATE in child.data.tags:
                self._ended.add(key)

    def has(self, key: str) -> bool:
        return key in self._ended

    def begin(self, trial: Tracked) -> None:
        run = self._child(trial)
        if trial.tags:
            self._log(run, tags=trial.tags)

    def progress(self, key: str, epochs: float, values: Mapping[str, float]) -> None:
        if key in self._children:  # that it began may have been left out, where the store is slow
            self._log(self._children[key], metrics=values, step=int(epochs), at=time.time())

    def end(self, trial: Tracked) -> None:
        run = self._child(trial)
        # The times are the evaluation's own: told once more after a crash they are the same points.
        self._log(run, metrics=trial.metrics, params=trial.params, step=int(trial.epochs), at=trial.ended or 0.0)
        self._log(run, tags={**trial.tags, STATE: str(trial.state)})
        ended = None if trial.ended is None else int(1000 * trial.ended)
        self._client.set_terminated(run, ENDINGS.get(trial.state or State.COMPLETE, "FINISHED"), ended)
        self._ended.add(trial.key)

    def total(self, step: int, values: Mapping[str, float]) -> None:
        self._log(self._parent, metrics=values, step=step, at=time.time())

    def close(self, artifacts: Sequence[Path], *, is_over: bool) -> None:
        for file in artifacts:
            self._client.log_artifact(self._parent, str(file))
        self._client.set_terminated(self._parent, "FINISHED" if is_over else "KILLED")

    def _found_or_made(self, run: TrackedRun) -> str:
        found = next(self._runs(f"tags.`{KEY}` = '{run.key}'"), None)
        if found is not None:
            self._client.update_run(found.info.run_id, "RUNNING")
            return str(found.info.run_id)
        tags = {KEY: run.key, "compact_nas.folder": str(run.folder.path)}
        made = self._client.create_run(self._experiment, tags=tags, run_name=run.folder.path.name)
        return str(made.info.run_id)

    def _child(self, trial: Tracked) -> str:
        """The child run of an evaluation, made where there is none."""
        if trial.key not in self._children:
            made = self._client.create_run(
                self._experiment,
                start_time=None if trial.began is None else int(1000 * trial.began),
                tags={PARENT: self._parent, KEY: trial.key},
                run_name=trial.name,
            )
            self._children[trial.key] = made.info.run_id
        return self._children[trial.key]

    def _runs(self, condition: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], condition, max_results=PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _log(
        self,
        run: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
        at: float = 0.0,
    ) -> None:
        told: list[Metric | Param | RunTag] = [
            *(Metric(allowed(name), value, int(1000 * at), step) for name, value in (metrics or {}).items()),
            *(Param(allowed(name), text) for name, text in (params or {}).items()),
            *(RunTag(allowed(name), text[:MOST_CHARACTERS]) for name, text in (tags or {}).items()),
        ]
        for some in (told[begin : begin + AT_ONCE] for begin in range(0, len(told), AT_ONCE)):
            kinds: dict[str, Any] = {
                name: [one for one in some if isinstance(one, kind)]
                for name, kind in (("metrics", Metric), ("params", Param), ("tags", RunTag))
            }
            self._client.log_batch(run, **kinds)


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def allowed(name: str) -> str:
    """A column's name as MLflow takes it: `latency_ms@pi5` is latency_ms/pi5."""
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "/"))


for _library in ("mlflow", "alembic"):  # what goes wrong is told by the search, in one line
    logging.getLogger(_library).setLevel(logging.ERROR)
