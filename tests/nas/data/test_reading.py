"""Images that cannot be read, and decoded sets shared through the cache."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nas.data.cache
import nas.data.reading
from nas.data import DataSet, load
from nas.data.cache import Block, store, stored
from nas.errors import InputError
from nas.study import Data

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty noisy images of each of two classes and a test split, so that one in each class may be lost."""
    for part, count in (("train", 40), ("test", 12)):
        for name in "ab":
            folder = tmp_path / "d" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                seed = (i, *f"{part}{name}".encode())  # no picture twice
                pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path / "d"


def folder_data(root: Path, **options: Any) -> Data:
    return Data.model_validate({"source": "image_folder", "path": str(root), "channels": 1, **options})


def read(root: Path, **options: Any) -> DataSet:
    return load(folder_data(root, **options), input_size=16, seed=0)


def truncate(file: Path) -> None:
    """Leave the header whole: only decoding finds it."""
    file.write_bytes(file.read_bytes()[:120])


@pytest.mark.parametrize("block", [7, 512])
def test_unreadable_images_are_named_and_left_out(root: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.data.reading, "BLOCK_IMAGES", block)
    whole = read(root)
    lost = {whole.split.train[3], whole.split.train[50], whole.split.validation[2], whole.split.train[20]}
    files = sorted((root / "train").rglob("*.png"))
    truncate(files[whole.split.train[20]])  # beyond the first block of seven
    truncate(files[whole.split.train[3]])
    files[whole.split.train[50]].write_text("no image")
    truncate(files[whole.split.validation[2]])
    for _ in range(2):  # decoded, then from the cache: the other processes must see the same
        found = read(root)
        assert [line.partition(": ")[0] for line in found.skipped] == [str(files[index]) for index in sorted(lost)]
        assert found.skipped[
            [str(files[whole.split.train[50]]) in line for line in found.skipped].index(True)
        ].endswith(": not an image")
        for part in ("train", "validation"):
            before, after = getattr(whole.split, part), getattr(found.split, part)
            assert after == tuple(index for index in before if index not in lost)
            keep = [index not in lost for index in before]
            assert np.array_equal(getattr(found, part).images, getattr(whole, part).images[keep])
            assert np.array_equal(getattr(found, part).labels, getattr(whole, part).labels[keep])
    assert whole.skipped == ()
    with pytest.raises(InputError, match=r"data\.path: 1 unreadable image file\(s\)"):
        read(root, unreadable="error")


def test_an_unreadable_test_image_is_warned_of_when_it_is_read(root: Path) -> None:
    truncate(root / "test" / "a" / "03.png")
    (root / "test" / "b" / "03.png").write_text("no image")  # its header tells before
    found = read(root)
    assert [line.rpartition("/")[2] for line in found.skipped] == ["03.png: not an image"]
    assert len(found.split.test) == 23
    with pytest.warns(UserWarning, match=r"1 test image\(s\) skipped: .*test/a/03\.png"):
        assert len(found.load_test()) == 22


@pytest.mark.parametrize("spoil", [truncate, lambda file: file.write_text("x")])
def test_a_class_may_lose_a_tenth_and_no_more(root: Path, spoil: Any) -> None:
    files = sorted((root / "train" / "b").iterdir())
    for file in files[:5]:  # of 52, with those of test
        spoil(file)
    assert len(read(root).skipped) == 5
    spoil(files[5])
    with pytest.raises(InputError) as caught:
        read(root)
    lines = str(caught.value).splitlines()
    assert lines[0] == "data.path: 6 unreadable image file(s) of the 52 of class 'b', more than a tenth:"
    assert (len(lines), lines[1].startswith(f"  {files[0]}: "), lines[-1]) == (7, True, "  and 1 more")


def test_a_part_that_loses_a_class(tmp_path: Path, root: Path) -> None:
    (root / "val" / "a").mkdir(parents=True)
    (root / "val" / "b").mkdir(parents=True)
    for name in "ab":
        Image.new("L", (9, 9)).save(root / "val" / name / "only.png")
    (root / "val" / "b" / "only.png").write_text("x")
    with pytest.raises(InputError, match="no image of class 'b' in the validation split can be read"):
        read(root)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_small_classes_work_or_give_one_message(tmp_path: Path, count: int) -> None:
    for name in "ab":
        (tmp_path / "s" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (9, 9), 20 * i + ord(name)).save(tmp_path / "s" / name / f"{i}.png")
    if count == 3:
        found = read(tmp_path / "s")
        assert (len(found.train), len(found.validation), len(found.load_test())) == (2, 2, 2)
        (tmp_path / "s" / "a" / "0.png").write_text("x")
    expected = "more than a tenth" if count == 3 else "class 'a' has too few images to be split"
    with pytest.raises(InputError, match=expected):
        read(tmp_path / "s")


def test_resizing_has_a_cache_entry_of_its_own(root: Path, cache: Path) -> None:
    folders = []
    for resize in ("stretch", "crop", "letterbox"):
        read(root, resize=resize)
        folders.append(len(list(cache.glob("*/images.npy"))))
    assert folders == [2, 4, 6]


def blocks(*shades: int) -> Iterator[Block]:
    for i, shade in enumerate(shades):
        yield np.full((2, 1, 3, 3), shade, np.uint8), {10 * i: "torn"} if shade % 2 else {}


def test_blocks_are_stored_one_after_the_other(cache: Path) -> None:
    found = store("key", blocks(4, 5, 6), (1, 3, 3))
    assert found is not None
    assert found[0][:, 0, 0, 0].tolist() == [4, 4, 5, 5, 6, 6]
    assert found[1] == {10: "torn"}
    assert [entry.name for entry in cache.iterdir()] == ["key"]
    again = stored("key")
    assert again is not None
    assert again[1] == {10: "torn"}


def test_a_block_is_written_before_the_next_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets a set be larger than memory."""
    alive: list[int] = []

    class Counted(np.ndarray[Any, Any]):
        def __del__(self) -> None:
            if self.base is None:
                alive.remove(0)

    def counted() -> Iterator[Block]:
        for _ in range(5):
            alive.append(0)
            assert len(alive) <= 2
            block = Counted((2, 1, 3, 3), np.uint8)
            block[:] = 1
            yield block, {}
            del block

    found = store("key", counted(), (1, 3, 3))
    assert found is not None
    assert len(found[0]) == 10


def test_an_entry_without_an_image_is_none(cache: Path) -> None:
    assert store("key", iter([(np.empty((0, 1, 3, 3), np.uint8), {0: "x"})]), (1, 3, 3)) is None
    assert list(cache.iterdir()) == []


def test_the_first_of_two_writers_stays_and_a_torn_entry_gives_way(cache: Path) -> None:
    def slow() -> Iterator[Block]:
        first = store("key", blocks(2), (1, 3, 3))
        assert first is not None
        yield from blocks(4)

    found = store("key", slow(), (1, 3, 3))
    assert found is not None
    assert found[0].max() == 2
    (cache / "key" / "skipped.json").unlink()
    assert stored("key") is None
    found = store("key", blocks(6), (1, 3, 3))
    assert found is not None
    assert found[0].max() == 6


def test_many_processes_decode_the_same_set_at_once(root: Path, cache: Path) -> None:
    code = (
        "import sys; from nas.data import load; from nas.study import Data\n"
        f"found = load(Data(source='image_folder', path={str(root)!r}, channels=1), input_size=16, seed=0)\n"
        "print(type(found.train.images).__name__, int(found.train.images.astype(int).sum()))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = {worker.communicate(timeout=120)[0].strip() for worker in workers}
    assert answers == {f"memmap {int(read(root).train.images.astype(int).sum())}"}
    assert len(list(cache.glob("*/images.npy"))) == 2


def test_full_disk_falls_back_to_memory(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(root).train.images.copy()
    for file in cache.glob("*/*"):
        file.unlink()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nas.data.cache.os, "fsync", full)
    with pytest.warns(UserWarning, match="kept in memory, the cache .* cannot be written: No space left on device"):
        found = read(root).train.images
    assert not isinstance(found, np.memmap)
    assert np.array_equal(found, expected)
    assert not list(cache.glob("*.tmp"))


def test_what_killed_processes_left_is_removed_after_a_day(root: Path, cache: Path) -> None:
    for name, hours in (("old", 25), ("young", 23)):
        (cache / f"{name}.tmp").mkdir(parents=True)
        moment = time.time() - hours * 3600
        os.utime(cache / f"{name}.tmp", (moment, moment))
    read(root)
    assert [folder.name for folder in cache.glob("*.tmp")] == ["young.tmp"]


def test_class_weights_make_classes_equal(root: Path) -> None:
    for file in sorted((root / "train" / "a").iterdir())[::2]:
        file.unlink()
    found = read(root)
    counts = np.bincount(found.train.labels)
    weights = np.array(found.class_weights)
    assert np.ptp(weights * counts) == pytest.approx(0)
    assert weights[found.train.labels].mean() == pytest.approx(1)
    assert weights[0] > 1.5 * weights[1]


def test_every_form_has_a_cache_entry_of_its_own(root: Path) -> None:
    for channels in (1, 3):
        for size in (8, 16):
            found = load(folder_data(root, channels=channels), input_size=size, seed=0).train.images
            assert found.shape[1:] == (channels, size, size)
