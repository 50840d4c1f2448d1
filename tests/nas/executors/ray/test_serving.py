"""What an actor does on its node, without a Ray: images that nobody may write to, and work that goes on elsewhere."""

from __future__ import annotations

import queue
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import different

import nas.executors.ray.datasets
import nas.executors.ray.serving
import nas.training.stage_run
from nas.data import DataSet, Images, load
from nas.errors import InputError
from nas.executors.loop import take
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.datasets import DriverData, NodeData, StoredSet, keys_of
from nas.executors.ray.mailbox import Mailbox, Message
from nas.executors.ray.serving import Assignment, Bench, NodeSetup, evaluate_one, moved, opened
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Task

STUDY = {
    "name": "t",
    "data": {"source": "digits", "train_images": 80, "flip": True, "crop_padding": 1},
    "space": {"preset": "8px"},
    "training": {"epochs": 2, "batch_size": 40, "cutout": 0.25, "mixup": 0.2, "randaugment": {"operations": 1}},
    "search": {"sampler": "random"},
}


def read_only(array: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    """In memory that the process may not write to: doing so ends it, as it would change another's images in Ray."""
    file = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(file, array)
    return np.load(file, mmap_mode="r")


class Node:
    """A machine: its own folder, and a store that hands out arrays as Ray's does."""

    def __init__(self, study: Study, home: Path, root: Path, **changes: Any) -> None:
        store = root / "store"
        store.mkdir(parents=True)
        self.data = DriverData(study, lambda value: self._stored(value, store))
        self.data.put_all()
        self.setup = NodeSetup(
            version=nas.executors.ray.serving.__version__,
            study=dump_study(study),
            home=home,
            is_shared=False,
            threads=1,
            checkpoint_seconds=0.0,
            sets=self.data.sets,
            places={},
        )
        self.setup = replace(self.setup, **changes)
        self.box, self.root, self.heard = Mailbox(), root / "run", 0

    @staticmethod
    def _stored(value: Any, store: Path) -> Any:
        def images(own: Images) -> Images:
            return Images(read_only(own.images, store), read_only(own.labels, store))

        if isinstance(value, StoredSet):
            return StoredSet(value.class_names, images(value.train), images(value.validation))
        return images(value) if isinstance(value, Images) else value

    def open(self) -> Bench:
        bench = opened(self.setup, RunFolder(self.root), self.box, lambda ref: ref, {"engine": "ray", "node": "pc/1"})
        return replace(bench, workbench=replace(bench.workbench, places=None))

    def evaluate(self, assignment: Assignment, bench: Bench, verdicts: list[str]) -> list[Message]:
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        for verdict in verdicts:
            answers.put(verdict)
        evaluate_one(assignment, bench, self.box, answers)
        found = self.box.after(self.heard, 0.0)
        self.heard += len(found)
        return found


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


@pytest.fixture
def home(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "home")


def make_task(home: RunFolder, number: int = 0, **fields: Any) -> Task:
    candidate = different(1)[0]
    task = Task(number, candidate, "search", number, 2, home.artifact(candidate.id, "search", number))
    return replace(task, **fields)


def test_a_trial_goes_on_on_another_node_and_writes_into_no_image(
    tmp_path: Path, home: RunFolder, every_epoch: None
) -> None:
    """Paused on one, finished on the other; all it has is what the driver got of the first."""
    study, task = Study.model_validate(STUDY), make_task(home, reads_test=True)
    one, two = Node(study, home.path, tmp_path / "one"), Node(study, home.path, tmp_path / "two")
    driver = Assignments(study, home, one.data, lambda value: value)
    assert keys_of(study) == ((8, 80),)
    assignment = driver.of(task)
    assert [key[0] for key in assignment.tests] == [8]
    messages = one.evaluate(assignment, one.open(), ["pause"])
    sent = [message["parcel"] for message in messages if message.keys() == {"parcel"}]
    assert any(name.endswith("checkpoint.pt") for parcel in sent for name in parcel)
    assert messages[-1]["paused"]
    driver.take(task, messages[-1]["parcel"])
    assert (task.folder / "checkpoint.pt").exists()
    assert not (one.root / "artifacts").exists() or not list((one.root / "artifacts").glob("*/*"))

    shutil.rmtree(one.root)
    messages = two.evaluate(replace(driver.of(task), tests=assignment.tests), two.open(), ["continue"] * 2)
    rungs = [message["rung"]["epochs"] for message in messages if "rung" in message]
    assert rungs[0] > 1  # not from the beginning
    evaluation = take(task, messages[-1]["done"])
    assert (evaluation.state, evaluation.epochs) == (State.COMPLETE, 2)
    assert (evaluation.machine.engine, evaluation.machine.node) == ("ray", "pc/1")
    assert evaluation.test is not None
    assert {file.name for file in task.folder.iterdir()} == {
        "candidate.json", "evaluation.json", "model.onnx", "weights.safetensors",
    }  # fmt: skip


def test_a_teacher_goes_to_the_driver_and_to_the_next_node(tmp_path: Path, home: RunFolder, every_epoch: None) -> None:
    training = {"epochs": 1, "batch_size": 40, "distillation": {"teacher": "reference"}}
    study = Study.model_validate({**STUDY, "training": training})
    one, two = Node(study, home.path, tmp_path / "one"), Node(study, home.path, tmp_path / "two")
    driver = Assignments(study, home, one.data, lambda value: value)
    first, second = (make_task(home, number, epochs=1) for number in range(2))
    messages = one.evaluate(driver.of(first), one.open(), ["continue"] * 3)
    for message in messages:
        driver.take(first, message.get("parcel", {}))
    assert {"logits.npy", "weights.safetensors"} <= {file.name for file in (home.path / "reference").iterdir()}
    driver.ended(first)
    assert driver.may_start(second)
    messages = two.evaluate(driver.of(second), two.open(), ["continue"] * 3)
    assert not any("reference/logits.npy" in message.get("parcel", {}) for message in messages)  # it was not made again
    assert "teach" not in {
        message["progress"]["part"] for message in messages if message.get("progress", {}).get("epochs")
    }
    logits = [node.root / "reference" / "logits.npy" for node in (one, two)]
    assert logits[0].read_bytes() == logits[1].read_bytes() == (home.path / "reference" / "logits.npy").read_bytes()
    assert take(second, messages[-1]["done"]).state is State.COMPLETE


def test_on_a_shared_disk_nothing_is_sent(tmp_path: Path, home: RunFolder) -> None:
    study, task = Study.model_validate(STUDY), make_task(home, epochs=1)
    write_atomically(home.study, dump_study(study))
    node = Node(study, home.path, tmp_path / "one", is_shared=True)
    node.root = home.path
    messages = node.evaluate(Assignment(task.to_line()), node.open(), ["continue"] * 2)
    assert messages[-1] == {"done": None, "spent": False}
    assert not any(message.get("parcel") for message in messages)
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None
    assert evaluation.state is State.COMPLETE


def test_nodes_need_no_files_of_the_data(tmp_path: Path, home: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where `nas train` asks for other images than the study that the run folder records."""
    images = {"data": {"source": "digits", "train_images": 120}, "search": {"sampler": "random", "train_images": 80}}
    recorded, asked = (Study.model_validate({**STUDY, **images, "finals": {"train_images": n}}) for n in (90, 100))
    node = Node(asked, home.path, tmp_path / "one")
    node.setup = replace(node.setup, study=dump_study(recorded))

    def no_files(*_: object, **__: object) -> None:
        pytest.fail("the node has no files")

    monkeypatch.setattr(nas.executors.ray.datasets, "load", no_files)
    bench, task = node.open().workbench, make_task(home, recipe=asked.search_changes)
    assert len(bench.for_task(task).data.train) == 80
    assert len(bench.for_task(replace(task, phase="final", recipe={"train_images": 100})).data.train) == 100


def test_a_node_with_another_version_is_refused(tmp_path: Path, home: RunFolder) -> None:
    node = Node(Study.model_validate(STUDY), home.path, tmp_path / "one", version="0.0.1")
    with pytest.raises(InputError, match=r"expected compact-nas 0.0.1, as the driver has, got"):
        node.open()


def test_a_task_moves_with_all_its_folders(tmp_path: Path, home: RunFolder) -> None:
    task = make_task(home, made_from=home.path / "artifacts" / "x" / "final-1")
    found = moved(task, home.path, tmp_path / "node")
    assert found.folder == tmp_path / "node" / task.folder.relative_to(home.path)
    assert found.made_from == tmp_path / "node" / "artifacts" / "x" / "final-1"
    assert replace(found, folder=task.folder, made_from=task.made_from) == task


def test_a_set_that_is_not_in_the_store_is_read_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.model_validate(STUDY)
    data = NodeData({}, lambda ref: ref)
    found = data.read(study.data, input_size=8, seed=0)
    expected = load(study.data, input_size=8, seed=0)
    assert np.array_equal(found.train.images, expected.train.images)
    assert isinstance(found, DataSet)
