"""The cache: what is in it, and that nothing else is removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from nas.commands.cache import cache_table, clear, entries
from nas.data import cache_folder, load
from nas.study import Data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(root: Path) -> Data:
    for index in range(40):
        file = root / "d" / "ab"[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), index).save(file)
    return Data(source="image_folder", path=str(root / "d"), channels=1)


def test_what_a_data_set_leaves_there(tmp_path: Path, folder: Path) -> None:
    assert not list(entries(folder))
    found = load(images(tmp_path), input_size=8, seed=0)
    kept = list(entries(cache_folder()))
    assert sorted(entry.kind for entry in kept) == [
        "decoded images", "decoded images", "files that were found to be images",
    ]  # fmt: skip
    pixels = (len(found.train) + len(found.validation)) * 64
    assert pixels < sum(entry.size_bytes for entry in kept) < pixels + 1000
    assert {entry.path for entry in kept} == set(folder.iterdir())
    before = found.train.images.copy()
    assert clear(folder) == sum(entry.size_bytes for entry in kept)
    assert not list(folder.iterdir())
    assert np.array_equal(found.train.images, before)  # mapped pages outlive their file


def test_other_files_stay(tmp_path: Path, folder: Path) -> None:
    key = "0123456789abcdef01234567"
    ours = [f"latency-{key}.json", f"{key}.ok", f"set-images-{key}.npy", f"{key}.77.abcd.tmp", f"set-x-{key}.5.tmp"]
    theirs = ["latency.json", "notes.txt", "abc.npy", f"{key}0.ok", "x.tmp"]
    folder.mkdir()
    for name in [*ours, *theirs]:
        (folder / name).write_text("12345")
    (folder / key).mkdir()
    (folder / key / "thesis.doc").touch()
    (tmp_path / "far").mkdir()
    (folder / f"{key[::-1]}").symlink_to(tmp_path / "far")
    assert {entry.path.name for entry in entries(folder)} == set(ours)
    assert clear(folder) == 5 * len(ours)
    assert {path.name for path in folder.iterdir()} == {*theirs, key, key[::-1]}
    assert (tmp_path / "far").is_dir()


def test_the_table_adds_up(folder: Path) -> None:
    folder.mkdir()
    for number in range(3):
        (folder / f"latency-{number:024}.json").write_bytes(bytes(1_500_000))
    console = Console(width=100)
    with console.capture() as shown:
        console.print(cache_table(folder))
    rows = [line.replace("│", " ").split() for line in shown.get().splitlines()]
    assert ["latencies", "of", "untrained", "candidates", "3", "4.5", "MB"] in rows
    assert ["all", "3", "4.5", "MB"] in rows
