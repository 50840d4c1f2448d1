"""What is said of a data set before it is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from nas.data import load
from nas.data.describe import DataSummary, describe, summarize
from nas.data.tables import MOST_CLASSES, SHOWN_EACH_END, data_table, data_warnings, data_words, megabytes
from nas.errors import InputError
from nas.study import Data, Study


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def draw(file: Path, shade: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade).save(file)


def folder(root: Path, **counts: int) -> Data:
    """So many images of each class."""
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            draw(root / "images" / name / f"{index:03}.png", 20 * number + index)
    return Data(source="image_folder", path=str(root / "images"), channels=1, validation=0.2, test=0.2)


def study(data: Data) -> Study:
    return Study.model_validate({"name": "t", "data": data.model_dump(), "space": {"preset": "8px"}})


def shown(summary: DataSummary) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(data_table(summary))
    return captured.get() + "\n".join(data_words(summary))


def test_counts_are_those_of_the_parts(tmp_path: Path) -> None:
    data = folder(tmp_path, cat=20, dog=10)
    found = describe(study(data))
    assert found.class_names == ("cat", "dog")
    assert found.images == {"train": (12, 6), "validation": (4, 2), "test": (4, 2)}
    assert found.imbalance == 2
    assert found.cached_bytes == 30 * 8 * 8
    loaded = load(data, input_size=8, seed=0)
    assert describe(study(data), loaded) == found
    assert np.bincount(loaded.train.labels).tolist() == list(found.images["train"])
    assert np.bincount(loaded.load_test().labels).tolist() == list(found.images["test"])


def test_without_a_cache_nothing_is_written(tmp_path: Path) -> None:
    data = folder(tmp_path, cat=10, dog=10).model_copy(update={"cache": False})
    assert describe(study(data)).cached_bytes == 0
    with_cache = load(data.model_copy(update={"cache": True}), input_size=8, seed=0)
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    without = load(data, input_size=8, seed=0)
    assert np.array_equal(without.train.images, with_cache.train.images)
    assert without.split == with_cache.split
    assert not (tmp_path / "cache").exists()


def test_unreadable_files_are_named_and_not_counted(tmp_path: Path) -> None:
    data = folder(tmp_path, cat=20, dog=20)
    (tmp_path / "images" / "cat" / "000.png").write_text("no image")
    found = summarize(data)
    assert sum(found.total(part) for part in found.images) == 39
    (told,) = found.unreadable
    assert told.endswith("000.png: not an image")
    (warning,) = data_warnings(found)
    assert warning == f"1 unreadable image file(s) left out:\n  {told}"


@pytest.mark.parametrize("classes", [MOST_CLASSES, MOST_CLASSES + 1])
def test_of_many_classes_the_first_and_the_last_are_shown(classes: int) -> None:
    names = tuple(f"class{number:02}" for number in range(classes))
    counts = {part: tuple(range(1, classes + 1)) for part in ("train", "validation", "test")}
    text = shown(DataSummary("x", names, counts, {}))
    hidden = [] if classes == MOST_CLASSES else names[SHOWN_EACH_END:-SHOWN_EACH_END]
    assert [name for name in names if name not in text] == list(hidden)
    assert f"{classes * (classes + 1) // 2:,}" in text
    assert ("more ..." in text) == bool(hidden)


def test_a_split_by_groups_far_from_what_was_asked_for_is_said() -> None:
    images = {"train": (80, 60), "validation": (10, 30), "test": (10, 10)}
    near = {"train": (80, 80), "validation": (10, 10), "test": (10, 10)}

    def warnings(images: dict[str, tuple[int, int]], groups: dict[str, int]) -> tuple[str, ...]:
        cut = {"validation": 0.1, "test": 0.1}
        return DataSummary("x", ("a", "b"), images, cut, groups=groups, uncut=(100, 100)).warnings

    (warning,) = warnings(images, {"train": 9})
    assert warning.startswith(
        "data.validation: asked for 10.0%, got 20.0% of the images, from 10.0% of class 'a' to 30.0%"
    )
    assert not warnings(near, {"train": 9})
    assert not warnings(images, {})


def test_fewer_training_images_do_not_make_a_cut_by_groups_larger(tmp_path: Path) -> None:
    tens = {"group_pattern": r"^\d\d", "validation": 0.25, "test": 0.25, "train_images": 8}
    found = summarize(folder(tmp_path, cat=40, dog=40).model_copy(update=tens))
    assert found.images == {"train": (4, 4), "validation": (10, 10), "test": (10, 10)}
    assert not found.warnings


def test_trials_may_have_fewer_images(tmp_path: Path) -> None:
    whole = study(folder(tmp_path, cat=20, dog=10))
    assert describe(whole).trial_images == 18
    few = Study.model_validate(whole.model_dump() | {"search": {"train_images": 7}})
    found = describe(few)
    assert (found.total("train"), found.trial_images) == (18, 7)
    assert found.cached_bytes == (30 + 7) * 8 * 8
    longer = Study.model_validate(whole.model_dump() | {"finals": {"train_images": 7}})
    found = describe(longer)
    assert (found.total("train"), found.trial_images) == (7, 18)
    many = Study.model_validate(whole.model_dump() | {"search": {"train_images": 19}})
    with pytest.raises(InputError, match=r"search\.train_images: expected at most 18, got 19"):
        describe(many)


def test_what_is_left_out_is_said_by_reason() -> None:
    counts = dict.fromkeys(("train", "validation", "test"), (1, 1))
    left_out = {"hidden": ("a/.x",), "no image": tuple(f"{i}.txt" for i in range(5))}
    text = shown(
        DataSummary("x", ("a", "b"), counts, {}, left_out=left_out, cached_bytes=12_345_678, notes=("a note",))
    )
    assert "left out, hidden: 1 (a/.x)" in text
    assert "left out, no image: 5 (0.txt, 1.txt, 2.txt and 2 more)" in text
    assert "decoded images take 12 MB in the cache" in text
    assert "a note" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 MB"), (30_720, "0.031 MB"), (2_000_000, "2.0 MB"), (12_345_678, "12 MB"), (4_400_000_000, "4,400 MB")],
)
def test_small_and_large_sizes(count: int, text: str) -> None:
    assert megabytes(count) == text
