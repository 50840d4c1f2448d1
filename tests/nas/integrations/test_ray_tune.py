"""The search inside a real `Tuner.fit`: Tune runs the trials, the journal is the record."""

from __future__ import annotations

import importlib.util
import math
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import by_hand
import pytest
from by_hand import COMPRESSION, SPACE, read
from ray import cloudpickle, tune
from ray.tune.logger import TBXLoggerCallback

from nas.errors import InputError
from nas.executors.loop import WorkFailed
from nas.files import sole_holder
from nas.integrations.ray_tune import CompactScheduler, CompactSearch
from nas.integrations.tune_session import opened
from nas.integrations.tune_trial import Order, metrics_of, packed, result_of, task_here, unpacked
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.study import Study
from nas.study.located_yaml import dump_yaml
from nas.tasks import Rung

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


def test_the_script_of_the_readme(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(dump_yaml(settings(trials=5)))
    tuner = script().tuner_of(tmp_path / "study.yaml", ["search.trials=2"], tmp_path / "run")
    found = tuner.fit().get_dataframe().set_index("number")
    folder = RunFolder(tmp_path / "run")
    rows = {int(row["number"]): row for row in read(folder, "trials")}
    assert found.index.tolist() == sorted(rows) == [0, 1]
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


def by_hand_in_tune(study: Study, log: Path) -> Callable[[dict[str, Any]], None]:
    """What stands for a training on a node without the driver's disk: 4 epochs in no time, each noted in `log`."""
    cloudpickle.register_pickle_by_value(by_hand)
    evaluated = by_hand.evaluated  # not the module: whole, its classes would be made anew, in this process too

    def candidate(config: dict[str, Any]) -> None:
        order = replace(Order.from_json(config["order"]), word="of another disk")
        with task_here(order) as task, tempfile.TemporaryDirectory() as parcels:
            if (saved := tune.get_checkpoint()) is not None:
                with saved.as_directory() as place:
                    unpacked(Path(place), task)
            task.folder.mkdir(parents=True, exist_ok=True)
            reached = task.folder / "epochs"
            found = evaluated(task, study)
            for epoch in range(int(reached.read_text()) + 1 if reached.exists() else 1, 5):
                reached.write_text(str(epoch))
                with log.open("a") as out:
                    out.write(f"{task.number} {epoch}\n")
                scores = {name: found.known[name] for name in study.objectives}
                rung = Rung(epoch, 4, 0.5, scores) if epoch == 2 else Rung(epoch, 4)
                files = tune.Checkpoint.from_directory(packed(task, Path(parcels) / str(epoch))) if epoch == 2 else None
                tune.report(metrics_of(task, study.objectives, rung), checkpoint=files)
            write_evaluation(task.folder, found)
            files = tune.Checkpoint.from_directory(packed(task, Path(parcels) / "end"))
            tune.report(result_of(task, study.objectives, found), checkpoint=files)

    return candidate


def test_a_run_with_rungs_is_broken_off_and_restored(ray_cluster: None, tmp_path: Path) -> None:
    """Trials pause and go on, nothing finished is done again, TensorBoard's files are written."""
    study, folder = by_hand.make_study(trials=3, sampler="random", rungs=(0.5,), finalists=0), tmp_path / "run"
    study = study.model_copy(update={"training": study.training.model_copy(update={"epochs": 4})})
    search = CompactSearch(study, folder)
    evaluate = tune.with_resources(by_hand_in_tune(study, tmp_path / "log"), {"cpu": 1})
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
    before = {row["number"]: row for row in read(RunFolder(folder), "trials")}
    asked = len(opened(search.study, search.folder).driver.journal.trials())

    results = tune.Tuner.restore(str(tmp_path / "tune"), evaluate).fit()
    rows = {row["number"]: row for row in read(RunFolder(folder), "trials")}
    evaluated = [row for row in rows.values() if row["state"] != "DUPLICATE"]
    complete = [row for row in evaluated if row["state"] == "COMPLETE"]
    assert len(complete) == 3
    assert {row["state"] for row in evaluated} == {"COMPLETE", "PRUNED"}
    assert {number: rows[number] for number in before} == before
    assert len(rows) >= asked > 2
    assert len({row["id"] for row in evaluated}) == len(evaluated)
    assert all((folder / row["artifact"] / "evaluation.json").exists() for row in evaluated)

    trained = Counter((tmp_path / "log").read_text().splitlines())
    assert all(trained[f"{row['number']} {epoch}"] == 1 for row in before.values() for epoch in (1, 2))
    assert sum(count > 1 for count in trained.values()) <= 2 * 4  # at most what two trials had in hand
    reached = Counter(line.split()[0] for line in trained)
    assert all(reached[row["number"]] == 4 for row in complete)
    assert all(reached[row["number"]] <= 2 for row in evaluated if row["state"] == "PRUNED")

    best = results.get_best_result("accuracy", "max").metrics
    assert best is not None
    assert (best["state"], best["accuracy"]) == ("COMPLETE", max(float(row["accuracy"]) for row in complete))
    paused = [result.metrics for result in results if result.metrics and result.metrics.get("state") == "TRAINING"]
    assert paused
    assert all(math.isnan(metrics["accuracy"]) for metrics in paused)
    assert list((tmp_path / "tune").rglob("events.out.tfevents*"))


def test_a_search_without_its_scheduler_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    search = CompactSearch(settings(), tmp_path / "run")
    with pytest.raises(InputError, match=r"CompactScheduler\(search\)"):
        search.suggest("x")


def test_what_no_candidate_is_to_blame_for_ends_the_run(tmp_path: Path) -> None:
    scheduler = CompactScheduler(CompactSearch(settings(), tmp_path / "run"))
    with pytest.raises(WorkFailed, match="run: No space left on device; nothing finished is lost"):
        scheduler.on_trial_result(cast("Any", None), cast("Any", None), {"broke": "No space left on device"})
    with pytest.raises(InputError, match="no token"):
        scheduler.on_trial_result(cast("Any", None), cast("Any", None), {"refused": "no token"})


def test_the_death_of_a_node_is_not_held_against_a_candidate(tmp_path: Path) -> None:
    told, heard = tmp_path / "error.txt", list[tuple[int, str, bool]]()
    session = SimpleNamespace(died=lambda number, reason, *, blamed: heard.append((number, reason, blamed)))
    scheduler = CompactScheduler(cast("Any", SimpleNamespace(session=session)))
    trial = cast("Any", SimpleNamespace(config={"number": 4}, error_file=str(told)))
    for words in ("The actor died because its node has died.", "Traceback\nImportError: no torch\n"):
        told.write_text(words)
        scheduler.on_trial_error(cast("Any", None), trial)
    assert heard == [(4, "the node of its worker is gone", False), (4, "worker died: ImportError: no torch", True)]


def test_a_mistake_in_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"search\.trials"):
        CompactSearch(settings(trials=0), tmp_path)
