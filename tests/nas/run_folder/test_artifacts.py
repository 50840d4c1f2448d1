"""An artifact folder as bytes: a round trip, and nothing written of what is not one."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study

from nas.run_folder.artifacts import ArtifactError, pack, unpack
from nas.run_folder.paths import read_evaluation, write_evaluation
from nas.tasks import CHECKPOINT_FILE, Task

CONTENT = {"model.onnx": bytes(range(256)) * 5, "deep/er/weights": b"", "zebra-é": "ü".encode()}


def task_in(folder: Path) -> Task:
    return Task(0, different(1)[0], "search", 3, 8, folder)


def filled(folder: Path) -> Task:
    """A finished evaluation with a file that sorts behind evaluation.json."""
    task = task_in(folder)
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_evaluation(folder, evaluated(task, make_study()))
    return task


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def archive(*members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_what_is_packed_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = filled(tmp_path / "a")
    (tmp_path / "a" / CHECKPOINT_FILE).touch()
    (tmp_path / "a" / ".model.onnx.12.tmp").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    written = list[str]()
    original = os.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (written.append(to.name), original(self, to)))
    there = replace(task, folder=tmp_path / "b")
    there.folder.mkdir()
    (there.folder / CHECKPOINT_FILE).touch()  # of an earlier attempt
    unpack(pack(task.folder), there)
    assert files(there.folder) == {**CONTENT, "evaluation.json": (task.folder / "evaluation.json").read_bytes()}
    assert written[-1] == "evaluation.json"
    assert read_evaluation(there.folder) == read_evaluation(task.folder)


def test_equal_files_are_equal_bytes(tmp_path: Path) -> None:
    first, second = pack(filled(tmp_path / "a").folder), filled(tmp_path / "b")
    os.utime(second.folder / "model.onnx", (1, 1))
    (second.folder / "model.onnx").chmod(0o600)
    assert pack(second.folder) == first


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "..", ".", "", "./x", "a//b", ".hidden", "a\\..\\x"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    record = (filled(tmp_path / "a").folder / "evaluation.json").read_bytes()
    with pytest.raises(ArtifactError, match="expected names within the folder"):
        unpack(archive(("good", b""), (name, b"x"), ("evaluation.json", record)), task_in(tmp_path / "b"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_only_regular_files(tmp_path: Path, kind: bytes) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = kind, "../a"

    with pytest.raises(ArtifactError, match="x: expected a regular file"):
        unpack(archive(("x", b""), change=change), task_in(tmp_path / "b"))


def test_each_name_once(tmp_path: Path) -> None:
    for second in ("x", "x/y"):
        with pytest.raises(ArtifactError, match="expected each name once"):
            unpack(archive(("x", b"1"), (second, b"2")), task_in(tmp_path / "b"))


def test_nothing_is_written_of_a_torn_archive(tmp_path: Path) -> None:
    """Cut anywhere: between two members tar itself notices nothing."""
    whole = pack(filled(tmp_path / "a").folder)
    end = whole.rindex(b"}") + 1
    assert end < len(whole)
    for length in {*range(0, end, 512), *range(1, end, 997)}:
        with pytest.raises(ArtifactError):
            unpack(whole[:length], task_in(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("data", [b"", b"\0" * 10240, b"no archive", os.urandom(2000)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArtifactError, match="expected"):
        unpack(data, task_in(tmp_path / "b"))


def test_limits(tmp_path: Path) -> None:
    task = filled(tmp_path / "a")
    data, size = pack(task.folder), sum(map(len, files(task.folder).values()))
    with pytest.raises(ArtifactError, match=f"expected at most {size - 1} bytes"):
        unpack(data, replace(task, folder=tmp_path / "b"), limit_bytes=size - 1)
    unpack(data, replace(task, folder=tmp_path / "b"), limit_bytes=size)
    many = archive(*((str(number), b"") for number in range(1001)))
    with pytest.raises(ArtifactError, match="1000 files"):
        unpack(many, replace(task, folder=tmp_path / "c"))


def test_a_record_that_is_none_or_another_tasks(tmp_path: Path) -> None:
    task = filled(tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"evaluation\.json: expected an evaluation, got something else"):
        unpack(archive(("evaluation.json", b'{"accuracy": NaN}')), replace(task, folder=tmp_path / "b"))
    with pytest.raises(ArtifactError, match="expected candidate, phase and seed"):
        unpack(pack(task.folder), replace(task, folder=tmp_path / "b", seed=4))
    assert not (tmp_path / "b").exists()
