"""The search inside a real `Tuner.fit`: Tune runs the trials, the journal is the record."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from by_hand import COMPRESSION, SPACE, read
from ray import tune
from ray.tune.logger import TBXLoggerCallback

from nas.errors import InputError
from nas.files import sole_holder
from nas.integrations.ray_tune import CompactScheduler, CompactSearch, trainable
from nas.integrations.tune_session import opened
from nas.run_folder.paths import RunFolder
from nas.study.located_yaml import dump_yaml

pytestmark = [pytest.mark.xdist_group("ray")]
SCRIPT = Path(__file__).parents[3] / "studies/cluster/tune_script.py"


def settings(**search: Any) -> dict[str, Any]:
    """A study as plain data."""
    return {
        "name": "tuned",
        "data": {"source": "digits", "train_images": 100},
        "space": {**SPACE, "stages": [{"depths": [1, 2], "widths": [8, 16]}]},
        "compression": COMPRESSION,
        "objectives": ["accuracy", "parameters", "size_bytes"],
        "search": {"sampler": "random", "trials": 3, "workers": 2, "finalists": 0, "population": 4, **search},
        "training": {"epochs": 2},
    }


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tune_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ids(folder: RunFolder) -> list[str]:
    return [row["id"] for row in sorted(read(folder, "trials"), key=lambda row: int(row["number"]))]


def test_the_script_of_the_readme(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(dump_yaml(settings(trials=2)))
    tuner = script().tuner_of(tmp_path / "study.yaml", ["search.trials=3"], tmp_path / "run")
    found = tuner.fit().get_dataframe().set_index("number")
    folder = RunFolder(tmp_path / "run")
    rows = {int(row["number"]): row for row in read(folder, "trials")}
    assert found.index.tolist() == sorted(rows) == [0, 1, 2]
    for number, row in rows.items():
        assert row["state"] == found.state[number] == "COMPLETE"
        assert float(row["accuracy"]) == pytest.approx(found.accuracy[number])
        assert (folder.path / row["artifact"] / "model.onnx").stat().st_size == int(row["size_bytes"])
    assert {row["id"] for row in read(folder, "front")} <= {row["id"] for row in rows.values()}
    with sole_holder(folder.lock):
        pass


class Broken(tune.Callback):
    """Ends a run of Tune in the middle, as a crash of its process would; once, though Tune writes it down."""

    def __init__(self, after: int, once: Path) -> None:
        self._left, self._once = after, once

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left <= 0 and not self._once.exists():
            self._once.touch()
            raise RuntimeError("broken off")


def test_a_run_with_rungs_is_broken_off_and_restored(ray_cluster: None, tmp_path: Path) -> None:
    """Trials pause and go on, nothing finished is done again, TensorBoard's files are written."""
    study, folder = settings(trials=3, rungs=[0.5], seed=4), RunFolder(tmp_path / "run")
    study["training"] = {"epochs": 4}
    search = CompactSearch(study, folder.path)
    evaluate = tune.with_resources(trainable(study), {"cpu": 1})
    config = tune.TuneConfig(
        search_alg=search,
        scheduler=CompactScheduler(search),
        num_samples=-1,
        max_concurrent_trials=2,
        reuse_actors=True,
    )
    callbacks = [TBXLoggerCallback(), Broken(9, tmp_path / "once")]
    where = tune.RunConfig(name="tune", storage_path=str(tmp_path), callbacks=callbacks, verbose=0)
    with pytest.raises(Exception, match="broken off"):
        tune.Tuner(evaluate, tune_config=config, run_config=where).fit()
    before = {row["number"]: row for row in read(folder, "trials")}
    asked = len(opened(search.study, folder.path).driver.journal.trials())

    results = tune.Tuner.restore(str(tmp_path / "tune"), evaluate).fit()
    rows = {row["number"]: row for row in read(folder, "trials")}
    states = Counter(row["state"] for row in rows.values())
    assert states["COMPLETE"] == 3
    assert set(states) <= {"COMPLETE", "PRUNED", "DUPLICATE"}
    assert {number: rows[number] for number in before} == before
    assert len(rows) >= asked >= 2
    evaluated = [row for row in rows.values() if row["state"] != "DUPLICATE"]
    assert len({(row["id"], row["seed"]) for row in evaluated}) == len(evaluated)
    assert all(float(row["epochs"]) == 4 for row in evaluated if row["state"] == "COMPLETE")
    best = results.get_best_result("accuracy", "max")
    assert best.metrics is not None
    assert best.metrics["state"] == "COMPLETE"
    assert best.metrics["accuracy"] == max(float(row["accuracy"]) for row in evaluated if row["state"] == "COMPLETE")
    paused = [result.metrics for result in results if result.metrics and result.metrics["state"] == "TRAINING"]
    assert all(math.isnan(metrics["accuracy"]) for metrics in paused)
    assert list((tmp_path / "tune").rglob("events.out.tfevents*"))


def test_a_search_without_its_scheduler_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    search = CompactSearch(settings(), tmp_path / "run")
    with pytest.raises(InputError, match=r"CompactScheduler\(search\)"):
        search.suggest("x")


def test_a_mistake_in_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"search\.trials"):
        CompactSearch(settings(trials=0), tmp_path)
