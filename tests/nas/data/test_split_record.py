"""What split.json says, and which files are no longer where it says they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from nas.data import load
from nas.data.split_record import moved
from nas.study import Data


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def test_files_are_named_below_the_folder_of_the_set(tmp_path: Path) -> None:
    for index in range(20):
        file = tmp_path / "d" / "ab"[index % 2] / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), index).save(file)
    found = load(Data(source="image_folder", path=str(tmp_path / "d"), channels=1), input_size=2, seed=0)
    held = json.loads(found.split.to_json(found.file_names))
    test = found.load_test()
    assert held["files"]["test"] == [f"{'ab'[label]}/{shade:02}.png" for label, shade in
                                     zip(test.labels, test.images[:, 0, 0, 0], strict=True)]  # fmt: skip
    assert len(held["files"]["validation"]) == len(held["validation"])
    older = json.dumps({"validation": held["validation"], "test": held["test"]})
    old = found.split.to_json()
    assert found.split.to_json(found.file_names).startswith(old.removesuffix("}"))
    assert old.startswith(older.removesuffix("}"))


def test_images_without_files_are_named_by_their_place() -> None:
    found = load(Data(source="digits"), input_size=8, seed=0)
    held = json.loads(found.split.to_json(found.file_names))
    assert held["files"]["test"] == [f"digit {index}" for index in found.split.test]


def test_what_moved_is_said() -> None:
    before = json.dumps({"files": {"validation": ["a", "b"], "test": ["c"]}})
    after = json.dumps({"files": {"validation": ["a", "d", "e", "f", "g"], "test": ["c"]}})
    assert moved(before, after) == "\n  in validation: 1 no longer (b), 4 newly (d, e, f ...)"
    assert moved(before, before) == ""
    for older in ('{"validation": [1]}', "}", "[1]"):
        assert moved(older, after) == ""
