"""NumPy archives: every layout that is accepted, and one clear error for every one that is not."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas.data.npz_arrays
from nas.data import class_count, load
from nas.errors import InputError
from nas.study import Data

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def numbered(count: int, start: int = 0, shape: tuple[int, ...] = (4, 4)) -> Array:
    """Images that can be told apart by their shade."""
    shades = np.arange(start, start + count, dtype=np.uint8)
    return np.broadcast_to(shades.reshape(-1, *(1 for _ in shape)), (count, *shape)).copy()


def plain(**changes: Any) -> dict[str, Any]:
    """Twenty images of two classes; a change to None leaves an array out."""
    arrays = {"images": numbered(20), "labels": np.arange(20) % 2} | changes
    return {key: value for key, value in arrays.items() if value is not None}


def archive(tmp_path: Path, arrays: dict[str, Any], **options: Any) -> Data:
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    return Data.model_validate({"source": "npz", "path": str(tmp_path / "x.npz"), "channels": 1, **options})


def shades(images: Array) -> list[int]:
    return [int(shade) for shade in images[:, 0, 0, 0]]


def refused(data: Data) -> str:
    with pytest.raises(InputError) as caught:
        load(data, input_size=4, seed=0)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "train_"])
def test_one_array_is_split(tmp_path: Path, prefix: str) -> None:
    arrays = {f"{prefix}{key}": value for key, value in plain().items()}
    found = load(archive(tmp_path, arrays, validation=0.2, test=0.2), input_size=4, seed=0)
    assert (len(found.train), len(found.validation), len(found.split.test)) == (12, 4, 4)
    everything = [(found.train, found.split.train), (found.validation, found.split.validation)]
    for images, indices in [*everything, (found.load_test(), found.split.test)]:
        assert shades(images.images) == list(indices)
        assert images.labels.tolist() == [index % 2 for index in indices]
    assert found.class_names == ("0", "1")


def test_given_parts_as_medmnist_names_them(tmp_path: Path) -> None:
    column = np.array([[0], [1], [1]], np.uint8)
    arrays = {f"{part}_images": numbered(3, 10 * i) for i, part in enumerate(("train", "val", "test"))}
    arrays |= {f"{part}_labels": column for part in ("train", "val", "test")}
    data = archive(tmp_path, arrays | {"classes": np.array(["no", "yes"])})
    found = load(data, input_size=4, seed=0)
    assert (found.split.train, found.split.validation, found.split.test) == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert shades(found.train.images) + shades(found.load_test().images) == [0, 1, 2, 20, 21, 22]
    assert found.validation.labels.tolist() == [0, 1, 1]
    assert found.class_names == ("no", "yes")
    assert class_count(data) == 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (1, 5, 7), (5, 7, 3), (3, 5, 7), (5, 7, 4)])
def test_layouts(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    if shape[-1] == 4:
        images[..., 3] = 255
    data = archive(tmp_path, plain(images=images), channels=channels, resize="letterbox")
    found = load(data, input_size=7, seed=0).train
    index = load(data, input_size=7, seed=0).split.train[0]
    rows = images[index] if len(shape) == 2 or shape[0] > 3 else images[index].transpose(1, 2, 0)
    expected = rows.reshape(5, 7, -1)[..., :3].transpose(2, 0, 1)
    shown = found.images[0][:, 1:6]
    if expected.shape[0] == channels:
        assert np.array_equal(shown, expected)
    elif channels == 3:
        assert np.array_equal(shown, np.repeat(expected, 3, axis=0))
    assert found.images.shape[1:] == (channels, 7, 7)


def test_groups_stay_together(tmp_path: Path) -> None:
    groups = np.array([f"film{i // 4}" for i in range(40)])
    arrays = plain(images=numbered(40), labels=np.arange(40) % 2, groups=groups)
    found = load(archive(tmp_path, arrays, validation=0.2, test=0.2), input_size=4, seed=0)
    parts = [{index // 4 for index in part} for part in (found.split.train, found.split.validation, found.split.test)]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_given_parts_may_not_share_groups(tmp_path: Path) -> None:
    arrays = plain(groups=np.arange(20) // 2) | {"val_images": numbered(4, 100), "val_labels": np.arange(4) % 2}
    assert load(archive(tmp_path, arrays), input_size=4, seed=0).split.validation == (20, 21, 22, 23)
    own = archive(tmp_path, arrays | {"val_groups": np.array([10, 10, 11, 11])})
    assert load(own, input_size=4, seed=0).split.validation == (20, 21, 22, 23)
    message = refused(archive(tmp_path, arrays | {"val_groups": np.array([10, 10, 9, 9])}))
    assert "got 1 in both train and val, as that of" in message
    assert message.endswith(f"images[18] and {tmp_path / 'x.npz'}: val_images[2]")


def test_names_in_bytes_are_text(tmp_path: Path) -> None:
    data = archive(tmp_path, plain(classes=np.array([b"cat", "dög".encode()])))
    assert load(data, input_size=4, seed=0).class_names == ("cat", "dög")


OBJECTS = np.array([None, {}], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (plain(images=None), "expected arrays images and labels (or train_images ..."),
        (plain(labels=None), "expected labels of images, got images"),
        (
            plain(train_images=numbered(20)),
            "expected one of train_images, images, x_train, x, got images and train_images",
        ),
        (plain(images=numbered(20) - 100.0), "images: expected values of 0 to 1 or of 0 to 255, got -100 to -81"),
        (plain(images=numbered(20) * 13.5), "images: expected values of 0 to 1 or of 0 to 255, got 0 to 256.5"),
        (plain(images=np.full((20, 4, 4), np.nan)), "images: expected values of 0 to 1 or of 0 to 255, got nan to nan"),
        (plain(images=np.full((20, 4, 4), "x")), "images: expected numbers, got <U1"),
        (plain(images=numbered(20, shape=(4, 4, 2))), "expected (N, H, W), (N, H, W, C) or (N, C, H, W), got (20, 4,"),
        (plain(images=np.arange(20, dtype=np.uint8)), "images: expected (N, H, W), (N, H, W, C) or (N, C, H, W), got"),
        (plain(images=numbered(0), labels=np.arange(0)), "images: expected (N, H, W), (N, H, W, C) or (N, C, H, W),"),
        (
            plain(labels=np.arange(19)),
            "labels: expected whole numbers or text of shape (20,), or one-hot rows, got int64 of",
        ),
        (plain(labels=np.zeros((20, 14), int)), "labels: expected one 1 and else 0 in each row, got [0, 0, 0,"),
        (plain(labels=np.eye(20) * 2), "labels: expected one 1 and else 0 in each row, got [2.0, 0.0,"),
        (plain(labels=np.arange(20) / 2), "labels: expected whole numbers, got 0.5 at 1"),
        (plain(labels=np.full(20, np.nan)), "labels: expected whole numbers, got nan at 0"),
        (
            plain(labels=np.array(list("abcde") * 4), classes=np.array(["a", "b"])),
            "labels: expected a class of a, b, or",
        ),
        (plain(labels=np.zeros(20, int)), "expected at least two classes, each named once, got ['0']"),
        (plain(labels=np.full(20, 2 * 10**9)), "train labels: expected images of every class, got 20 up to 2000000000"),
        (plain(labels=np.arange(20) % 2 - 1), "expected at least two classes, each named once, got ['0']"),
        (plain(labels=np.arange(20) % 3 - 1), "train labels: expected 0 to 1, got -1 to 1"),
        (plain(labels=np.arange(20) % 2 * 2), "expected images of every class in train, got none of '1'"),
        (plain(classes=np.array(["a"])), "expected at least two classes, each named once, got ['a']"),
        (plain(classes=np.array(["a", "a"])), "expected at least two classes, each named once, got ['a', 'a']"),
        (plain(labels=np.arange(20) % 3, classes=np.array(["a", "b"])), "train labels: expected 0 to 1, got 0 to 2"),
        (plain(groups=np.arange(3)), "groups: expected shape (20,), got (3,)"),
        (
            plain(groups=np.arange(20), val_images=numbered(2), val_labels=np.arange(2), val_groups=np.arange(3)),
            "val_groups: expected shape (2,), got (3,)",
        ),
        (plain(validation_images=numbered(2)), "val and test, classes, groups, got validation_images"),
        (plain(val_images=numbered(2)), "expected labels of val_images, got images, labels, val_images"),
        (plain(val_images=numbered(2), val_labels=np.array([0, 2])), "val labels: expected 0 to 1, got 0 to 2"),
        (
            plain(test_images=numbered(1), test_labels=np.array([0])),
            "expected images of every class in test, got none of",
        ),
        (plain(extra=OBJECTS), "extra: expected numbers or text, got Python objects"),
    ],
)
def test_archives_that_cannot_serve(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    message = refused(archive(tmp_path, arrays))
    assert message.startswith(f"data.path: {tmp_path / 'x.npz'}: ")
    assert expected in message


@pytest.mark.parametrize("content", [None, b"", b"hello", "folder", "npy", "torn", "no array", "encrypted", "damaged"])
def test_files_that_are_no_archives(tmp_path: Path, content: str | bytes | None) -> None:
    data, file = archive(tmp_path, plain()), tmp_path / "x.npz"
    whole = file.read_bytes()
    file.unlink()
    match content:
        case bytes():
            file.write_bytes(content)
        case "folder":
            file.mkdir()
        case "npy":
            with file.open("wb") as out:
                np.save(out, numbered(3))
        case "torn":
            file.write_bytes(whole[:-30])
        case "no array":
            with zipfile.ZipFile(file, "w") as out_zip:
                out_zip.writestr("images.npy", "hello")
        case "encrypted":
            flags = whole.index(b"PK\x01\x02") + 8
            file.write_bytes(whole[:flags] + b"\x01" + whole[flags + 1 :])
        case "damaged":
            start = 30 + int.from_bytes(whole[26:28], "little") + int.from_bytes(whole[28:30], "little")
            file.write_bytes(whole[:start] + b"\xff" + whole[start + 1 :])
    message = refused(data)
    expected = "expected a .npz file" if content in (None, "folder") else "expected a .npz archive"
    assert expected in message
    assert str(file) in message


def test_damage_inside_the_archive(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    data, file = archive(tmp_path, plain(images=images)), tmp_path / "x.npz"
    damaged = bytearray(file.read_bytes())
    damaged[1000:1010] = bytes(10)
    file.write_bytes(damaged)
    assert f"{file}: images: cannot be read: " in refused(data)


def test_test_images_are_not_read_before_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = plain(test_images=numbered(2, 50), test_labels=np.array([0, 1]))
    asked: list[str] = []
    array = nas.data.npz_arrays.Archive.array
    monkeypatch.setattr(
        nas.data.npz_arrays.Archive, "array", lambda self, key: (asked.append(key), array(self, key))[1]
    )
    found = load(archive(tmp_path, arrays), input_size=4, seed=0)
    assert "images" in asked
    assert "test_images" not in asked
    assert shades(found.load_test().images) == [50, 51]


def test_an_archive_too_large_for_memory_is_mapped(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive(tmp_path, plain())
    small = load(data, input_size=4, seed=0)
    assert not isinstance(small.train.images, np.memmap)
    assert not cache.exists()
    monkeypatch.setattr(nas.data.npz_arrays, "memory_bytes", lambda: 1000)
    for _ in range(2):
        large = load(data, input_size=4, seed=0)
        assert isinstance(large.train.images, np.memmap)
        assert np.array_equal(large.train.images, small.train.images)
        assert np.array_equal(large.load_test().images, small.load_test().images)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be written"):
        assert "images: too large for memory, and cannot be unpacked to" in refused(data)
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(cache))
    np.savez(tmp_path / "x.npz", **plain(images=numbered(20, 100)))
    assert min(shades(load(data, input_size=4, seed=0).train.images)) >= 100
    (tmp_path / "other").mkdir()
    other = archive(tmp_path / "other", plain(images=numbered(20, 200)))
    np.savez(tmp_path / "other" / "x.npz", **plain(images=numbered(20, 200)))
    os.utime(tmp_path / "other" / "x.npz", ns=(0, (tmp_path / "x.npz").stat().st_mtime_ns))
    assert min(shades(load(other, input_size=4, seed=0).train.images)) >= 200
    for copy in cache.glob("x-images-*.npy"):
        copy.write_bytes(copy.read_bytes()[:-9])
    for entry in [path for path in cache.iterdir() if path.is_dir()]:
        shutil.rmtree(entry)
    assert "images: too large for memory, and cannot be unpacked to" in refused(data)


def test_resource_forks_in_an_archive_are_no_arrays(tmp_path: Path) -> None:
    data = archive(tmp_path, plain())
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as file:
        file.writestr("__MACOSX/._images.npy", "no array")
        file.writestr("._val_images.npy", "no array")
    assert load(data, input_size=4, seed=0).class_names == ("0", "1")


@pytest.mark.parametrize("letters", ["xy", "Xy", "XY"])
def test_names_of_keras(tmp_path: Path, letters: str) -> None:
    arrays = {f"{letters[0]}_train": numbered(20), f"{letters[1]}_train": np.arange(20)[:, None] % 2}
    arrays |= {f"{letters[0]}_test": numbered(4, 50), f"{letters[1]}_test": np.arange(4)[:, None] % 2}
    found = load(archive(tmp_path, arrays), input_size=4, seed=0)
    assert found.split.test == (20, 21, 22, 23)
    assert shades(found.load_test().images) == [50, 51, 52, 53]
    assert "x_validation" in refused(archive(tmp_path, arrays | {"x_validation": numbered(2)}))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint16])
def test_images_in_other_types(tmp_path: Path, dtype: Any) -> None:
    """Floats up to 1 are shares of white; up to 255, as whole numbers are, they are levels."""
    levels = np.broadcast_to(np.arange(0, 256, 255 // 19)[:20, None, None], (20, 4, 4))
    data = archive(tmp_path, plain(images=levels.astype(dtype)))
    split = load(data, input_size=4, seed=0).split.train
    expected = [int(levels[index, 0, 0]) for index in split]
    assert shades(load(data, input_size=4, seed=0).train.images) == expected
    if np.issubdtype(dtype, np.floating):
        scaled = archive(tmp_path, plain(images=(levels / 255).astype(dtype)))
        assert shades(load(scaled, input_size=4, seed=0).train.images) == expected


def test_masks_are_black_and_white(tmp_path: Path) -> None:
    data = archive(tmp_path, plain(images=np.arange(20)[:, None, None] % 2 * np.ones((1, 4, 4)) > 0))
    found = load(data, input_size=4, seed=0).train
    assert shades(found.images) == [255 * label for label in found.labels]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["cat", "dog"] * 10), ("cat", "dog")),
        (np.array([b"no", b"ja"] * 10), ("ja", "no")),
        (np.array(["10", "9"] * 10), ("9", "10")),
        (np.eye(2)[np.arange(20) % 2], ("0", "1")),
        (np.eye(2, dtype=bool)[np.arange(20) % 2], ("0", "1")),
        (np.arange(20) % 2 * 1.0, ("0", "1")),
    ],
)
def test_labels_in_other_types(tmp_path: Path, labels: Array, names: tuple[str, ...]) -> None:
    data = archive(tmp_path, plain(labels=labels))
    found = load(data, input_size=4, seed=0)
    assert found.class_names == names
    assert class_count(data) == 2
    first = 0 if names[0] in ("0", "cat") else 1  # the class of the even images
    assert found.train.labels.tolist() == [(index + first) % 2 for index in found.split.train]


def test_names_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    data = archive(tmp_path, plain(), class_names=str(tmp_path / "names.txt"))
    assert load(data, input_size=4, seed=0).class_names == ("cat", "dog")
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    named = archive(tmp_path, plain(labels=np.array(["cat", "dog"] * 10)), class_names=str(tmp_path / "names.txt"))
    found = load(named, input_size=4, seed=0)
    assert found.class_names == ("dog", "cat")
    assert found.train.labels.tolist() == [1 - index % 2 for index in found.split.train]


def test_floats_too_large_for_memory_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive(tmp_path, plain(images=numbered(20) / 255))
    small = load(data, input_size=4, seed=0)
    monkeypatch.setattr(nas.data.npz_arrays, "memory_bytes", lambda: 1000)
    assert np.array_equal(load(data, input_size=4, seed=0).train.images, small.train.images)
