"""Files on their way between machines: the marks of what is finished come last, and nothing lands elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import different

from nas.executors.ray.parcels import HERE, ParcelError, folders_of, network_of, packed, progress_of, written
from nas.tasks import Task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    candidate = different(1)[0]
    folder = tmp_path / "artifacts" / candidate.id / "search-0"
    return Task(0, candidate, "search", 0, 4, folder, rungs=(0.25, 0.5))


def test_round_trip_keeps_content_and_writes_marks_last(tmp_path: Path) -> None:
    files = {"a/evaluation.json": b"{}", "a/model.onnx": bytes(range(256)), "a/z/deep.txt": b"z", "a/logits.npy": b"l"}
    for name, content in files.items():
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_bytes(content)
    (tmp_path / "one" / "a" / ".model.tmp").write_bytes(b"torn")
    (tmp_path / "one" / "a" / "lock").write_bytes(b"")
    (tmp_path / "one" / "a" / "link").symlink_to("/etc/passwd")
    parcel = packed(tmp_path / "one", tmp_path / "one" / "a")
    assert parcel == files
    assert {name.rpartition("/")[2] for name in list(parcel)[-2:]} == {"evaluation.json", "logits.npy"}
    written(parcel, tmp_path / "two", below={"a"})
    two = tmp_path / "two"
    assert {path.relative_to(two).as_posix(): path.read_bytes() for path in two.rglob("*.*")} == files


def test_nothing_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert packed(tmp_path, tmp_path / "none") == {}


@pytest.mark.parametrize(
    "name", ["/etc/x", "a/../../x", "../x", "b/x", "a", "a/.hidden", "a\\x", "a//x", "aa/x", "a/./x", "a/x\0y", ""]
)
def test_a_file_in_another_folder_is_refused_with_all_others(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParcelError, match="expected files in a"):
        written({"a/good": b"1", name: b"2"}, tmp_path, below={"a"})
    assert list(tmp_path.iterdir()) == []


def test_what_another_worker_needs_to_go_on(tmp_path: Path, task: Task) -> None:
    rung = task.at_rung(0.25).folder
    for file in (task.folder / "checkpoint.pt", task.folder / "attempts.json", task.folder / "model.onnx"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(file.name.encode())
    rung.mkdir()
    (rung / "evaluation.json").write_bytes(b"{}")
    (rung / "model.onnx").write_bytes(b"m")
    own, beside = folders_of(task, tmp_path)[:2]
    assert beside == f"{own}-r0.25"
    assert progress_of(task, tmp_path) == {
        f"{own}/checkpoint.pt": b"checkpoint.pt",
        f"{own}/attempts.json": b"attempts.json",
        f"{beside}/evaluation.json": b"{}",
    }


def test_an_existing_network_travels_with_the_weights_it_begins_with(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    assert network_of(one) == {}
    files = {"network.json": b"{}", "network.safetensors": bytes(range(256))}
    for name, content in files.items():
        (one / name).write_bytes(content)
    (one / "study.yaml").write_text("name: t")
    assert network_of(one) == files
    written(network_of(one), two, below={HERE})
    assert {path.name: path.read_bytes() for path in two.iterdir()} == files
