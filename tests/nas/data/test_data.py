"""Data sets: the split, every way in which a folder cannot serve, and the cache of decoded images."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nas.data.reading
from nas.data import DataSet, Images, Split, load
from nas.errors import InputError
from nas.study import Data


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_image(file: Path, shade: int, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), shade).convert(mode).save(file)


def write_folder(root: Path, **splits: Mapping[str, int]) -> Path:
    """PNGs named by a counter; every image has a shade of its own, which tells it apart after loading."""
    shade = 0
    for split, classes in splits.items():
        for name, count in classes.items():
            for i in range(count):
                write_image(root / split / name / f"{i:03}.png", shade)
                shade += 1
    return root


def folder_data(root: Path, **options: Any) -> Data:
    return Data.model_validate({"source": "image_folder", "path": str(root), **options})


def read(data: Data, *, seed: int = 0, input_size: int = 8) -> DataSet:
    return load(data, input_size=input_size, seed=seed)


def refused(data: Data, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(data, **options)
    return str(caught.value)


def shades(images: Images) -> list[int]:
    return [int(shade) for shade in images.images[:, 0, 0, 0]]


DIGITS = Data(source="digits", validation=0.2, test=0.1)


def test_digits_split_is_complete_disjoint_and_stratified() -> None:
    found = read(DIGITS)
    split = found.split
    assert sorted(split.train + split.validation + split.test) == list(range(1797))
    classes = np.bincount(np.concatenate([found.train.labels, found.validation.labels, found.load_test().labels]))
    for images, fraction in ((found.validation, 0.2), (found.load_test(), 0.1), (found.train, 0.7)):
        assert np.abs(np.bincount(images.labels) - fraction * classes).max() <= 1
    assert found.class_names == tuple("0123456789")


def test_digits_split_follows_the_seed_alone() -> None:
    first, again, other = read(DIGITS).split, read(DIGITS, input_size=16).split, read(DIGITS, seed=1).split
    assert first == again
    assert not {first.validation, first.test} & {other.validation, other.test}


def test_digits_are_the_scans_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    bunch, found = load_digits(), read(DIGITS)
    where = np.asarray(found.split.validation)
    assert np.array_equal(found.validation.images[:, 0], np.round(bunch.images[where] / 16 * 255))
    assert np.array_equal(found.validation.labels, bunch.target[where])


@pytest.mark.parametrize(("images", "most", "step"), [(10, 3, 4), (9, 3, 3), (3, 3, 1), (2, 3, 1)])
def test_spread_reaches_every_part(images: int, most: int, step: int) -> None:
    numbers = np.arange(images)
    few = Images(numbers[:, None], numbers).evenly_spaced(most)
    assert few.labels.tolist() == few.images[:, 0].tolist() == list(range(0, images, step))


def test_train_images_limits_training_and_keeps_the_other_splits() -> None:
    whole, few = read(DIGITS), read(DIGITS.model_copy(update={"train_images": 200}))
    assert (few.split.validation, few.split.test) == (whole.split.validation, whole.split.test)
    assert set(few.split.train) < set(whole.split.train)
    assert np.bincount(few.train.labels).tolist() == pytest.approx([20] * 10, abs=1)


def test_given_splits_are_kept(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"b": 3, "a": 4}, val={"a": 2, "b": 1}, test={"a": 1, "b": 2})
    found = read(folder_data(root, validation=0.0, test=0.0))
    assert found.split == Split(tuple(range(7)), (7, 8, 9), (10, 11, 12))
    assert found.class_names == ("a", "b")
    assert shades(found.train) == [3, 4, 5, 6, 0, 1, 2]  # classes by name, in whatever order they were written
    assert (shades(found.validation), found.validation.labels.tolist()) == ([7, 8, 9], [0, 0, 1])
    assert (shades(found.load_test()), found.load_test().labels.tolist()) == ([10, 11, 12], [0, 1, 1])


@pytest.mark.parametrize("given", ["val", "test", None])
def test_missing_splits_are_cut_from_train(tmp_path: Path, given: str | None) -> None:
    extra = {} if given is None else {given: {"a": 3, "b": 3}}
    root = write_folder(tmp_path / "d", train={"a": 20, "b": 10}, **extra)
    found = read(folder_data(root, validation=0.2, test=0.1))
    parts = {"val": (found.validation, [4, 2]), "test": (found.load_test(), [2, 1])}
    for name, (images, expected) in parts.items():
        assert np.bincount(images.labels).tolist() == ([3, 3] if name == given else expected)
    everything = shades(found.train) + shades(found.validation) + shades(found.load_test())
    assert sorted(everything) == list(range(36 if given else 30))


def test_split_json_does_not_depend_on_the_order_files_are_listed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "d", train={"a": 9, "b": 8}, test={"a": 2, "b": 2})
    for file in sorted(root.rglob("*.png"), reverse=True):
        copy = tmp_path / "copy" / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    first = read(folder_data(root))
    for name in ("rglob", "iterdir"):
        original = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda *a, original=original: sorted(original(*a), reverse=True))
    second = read(folder_data(tmp_path / "copy"))
    assert first.split.to_json() == second.split.to_json()
    assert shades(first.validation) == shades(second.validation)
    recorded = json.loads(first.split.to_json())
    indices = {"validation": list(first.split.validation), "test": [17, 18, 19, 20]}
    assert recorded == {**indices, "images": first.split.images}


def test_folders_inside_a_class_and_other_files_beside_the_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4})
    write_image(root / "train" / "a" / "deep" / "x.PNG", 99)
    (root / "train" / "a" / "notes.txt").write_text("no image")
    (root / "train" / "labels.csv").write_text("")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert len(read(folder_data(root, validation=0.2, test=0.2)).class_names) == 2
    found = read(folder_data(root, validation=0.2, test=0.2))
    assert 99 in shades(found.train) + shades(found.validation) + shades(found.load_test())


def spoil(root: Path, how: str) -> None:
    """Make one mistake in a good folder."""
    train, test = root / "train", root / "test"
    match how:
        case "no folder":
            shutil.rmtree(root)
        case "a file":
            shutil.rmtree(root)
            root.write_text("")
        case "no train":
            shutil.rmtree(train)
        case "empty train":
            shutil.rmtree(train)
            train.mkdir()
        case "one class":
            shutil.rmtree(train / "b")
            shutil.rmtree(test)
        case "empty class":
            shutil.rmtree(train / "b")
            (train / "b").mkdir()
        case "class missing in test":
            shutil.rmtree(test / "b")
        case "strange class in test":
            write_image(test / "c" / "0.png", 1)
        case "text":
            (train / "a" / "text.jpg").write_text("hello")
        case "text in test":
            (test / "a" / "text.jpg").write_text("hello")
        case "empty file":
            (train / "b" / "empty.png").write_bytes(b"")
        case "truncated":
            noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(train / "a" / "cut.jpg")
            whole = (train / "a" / "cut.jpg").read_bytes()
            (train / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        case _:
            raise ValueError(how)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("no folder", "data.path: expected a folder, got '{root}', which does not exist or is a file"),
        ("a file", "data.path: expected a folder, got '{root}', which does not exist or is a file"),
        ("no train", "data.path: expected a folder train/ with one folder per class in {root}"),
        ("empty train", "data.path: expected at least two class folders in {root}/train, got []"),
        ("one class", "data.path: expected at least two class folders in {root}/train, got ['a']"),
        ("empty class", "of class 'b' in {root}/train"),
        ("class missing in test", "of class 'b' in {root}/test"),
        ("strange class in test", "data.path: {root}/test holds classes that train/ does not: c"),
        ("text", "data.path: 1 unreadable image file(s):\n  {root}/train/a/text.jpg: not an image"),
        ("text in test", "data.path: 1 unreadable image file(s):\n  {root}/test/a/text.jpg: not an image"),
        ("empty file", "data.path: 1 unreadable image file(s):\n  {root}/train/b/empty.png: not an image"),
        ("truncated", "data.path: 1 unreadable image file(s):\n  {root}/train/a/cut.jpg: "),
    ],
)
def test_data_that_cannot_serve(tmp_path: Path, how: str, expected: str) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4}, val={"a": 1, "b": 1}, test={"a": 1, "b": 1})
    spoil(root, how)
    assert expected.format(root=root) in refused(folder_data(root, unreadable="error"))


def test_many_unreadable_files_are_counted_and_five_shown(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4})
    for i in range(8):
        (root / "train" / "a" / f"bad{i}.jpg").write_text("x")
    message = refused(folder_data(root, unreadable="error"))
    assert message.startswith("data.path: 8 unreadable")
    assert (message.count("not an image"), message.splitlines()[-1]) == (5, "  and 3 more")


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ({"a": 4, "b": 2}, {}, "data: class 'b' has too few images to be split"),
        ({"a": 4, "b": 1}, {}, "data: class 'b' has too few images to be split"),
        ({"a": 4, "b": 4}, {"test": 0.0}, "data.test: 0, and the data has no test/ split"),
        ({"a": 4, "b": 4}, {"validation": 0.0}, "data.validation: 0, and the data has no val/ split"),
        ({"a": 4, "b": 4}, {"train_images": 5}, "data.train_images: expected at most 4, got 5"),
    ],
)
def test_splits_that_cannot_be_made(
    tmp_path: Path, counts: dict[str, int], options: dict[str, Any], expected: str
) -> None:
    root = write_folder(tmp_path / "d", train=counts)
    assert expected in refused(folder_data(root, **options))


@pytest.mark.parametrize("fraction", [0.01, 0.49])
def test_every_part_keeps_an_image_of_every_class(tmp_path: Path, fraction: float) -> None:
    root = write_folder(tmp_path / "d", train={"a": 3, "b": 40})
    found = read(folder_data(root, validation=fraction, test=fraction))
    for images in (found.train, found.validation, found.load_test()):
        assert np.bincount(images.labels)[0] == 1


def test_environment_variables_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "d", train={"a": 4, "b": 4})
    monkeypatch.setenv("SOME_PLACE", str(tmp_path))
    assert len(read(folder_data(Path("$SOME_PLACE/d"))).class_names) == 2
    monkeypatch.delenv("SOME_PLACE")
    assert "'$SOME_PLACE/d' names an environment variable that is not set" in refused(
        folder_data(Path("$SOME_PLACE/d"))
    )


def test_second_load_maps_the_file_of_the_first(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder_data(write_folder(tmp_path / "d", train={"a": 4, "b": 4}, test={"a": 1, "b": 1}))
    first = read(data)
    monkeypatch.setattr(nas.data.reading, "decode", lambda *_: pytest.fail("decoded again"))
    second = read(data)
    assert isinstance(second.train.images, np.memmap)
    assert isinstance(first.train.images, np.memmap)
    assert Path(str(second.train.images.filename)) == Path(str(first.train.images.filename))
    assert np.array_equal(first.train.images, second.train.images)
    assert len(list(cache.glob("*/images.npy"))) == 2  # training and validation: no test image, no leftover


def test_mapped_images_can_be_written_to_without_changing_the_cache(tmp_path: Path) -> None:
    data = folder_data(write_folder(tmp_path / "d", train={"a": 4, "b": 4}))
    first = read(data).train.images
    before = first.copy()
    first[:] = 7
    assert np.array_equal(read(data).train.images, before)


def test_changed_file_is_decoded_again(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4}, val={"a": 1, "b": 1}, test={"a": 1, "b": 1})
    file = root / "train" / "a" / "001.bmp"  # not compressed: the size stays the same
    write_image(file, 100)
    size, before = file.stat().st_size, shades(read(folder_data(root)).train)
    write_image(file, 200)
    assert file.stat().st_size == size
    assert shades(read(folder_data(root)).train) == [200 if shade == 100 else shade for shade in before]
    assert 100 in before


@pytest.mark.parametrize("left", [0, 60, -10])
def test_torn_cache_file_is_decoded_again(tmp_path: Path, cache: Path, left: int) -> None:
    data = folder_data(write_folder(tmp_path / "d", train={"a": 4, "b": 4}))
    before = shades(read(data).train)
    for file in cache.glob("*/images.npy"):
        file.write_bytes(file.read_bytes()[:left])
    assert shades(read(data).train) == before


def test_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder_data(write_folder(tmp_path / "d", train={"a": 4, "b": 4}))
    expected = read(data).train.images
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert np.array_equal(read(data).train.images, expected)
    assert ["cannot be written" in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1"])
def test_any_image_becomes_the_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    for i, name in enumerate("aaaabbbb"):
        write_image(tmp_path / "d" / "train" / name / f"{i}.{suffix}", 255, mode)
    found = read(folder_data(tmp_path / "d", channels=channels), input_size=5).train.images
    assert (found.shape[1:], found.dtype) == ((channels, 5, 5), np.uint8)
    assert found.min() >= 250


def test_other_shapes_are_stretched(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4})
    wide = np.zeros((6, 12), np.uint8)
    wide[:, 6:] = 255
    for file in (root / "train" / "a").iterdir():
        Image.fromarray(wide).save(file)
    found = read(folder_data(root, channels=1), input_size=4)
    image = found.train.images[found.train.labels == 0][0, 0]
    assert image[:, 0].max() < 40
    assert image[:, 3].min() > 215


def test_mean_and_standard_deviation() -> None:
    half = np.zeros((4, 1, 2, 2), np.uint8)
    half[:2] = 255
    none = Images(half[:0], np.zeros(0, np.int64))

    def of(images: np.ndarray[Any, Any]) -> tuple[float, float]:
        train = Images(images, np.zeros(len(images), np.int64))
        return DataSet(("a", "b"), train, none, Split((), (), ()), lambda: none).mean_std

    assert of(half) == (0.5, 0.5)
    assert of(np.full((4, 1, 2, 2), 51, np.uint8)) == (pytest.approx(0.2), 1.0)  # one shade: nothing to divide by
    noise = np.random.default_rng(0).integers(0, 200, (333, 3, 5, 7), np.uint8)
    assert of(noise) == (pytest.approx(noise.mean() / 255), pytest.approx(noise.std() / 255))
    by_class = np.repeat(np.array([0, 255], np.uint8), 5000).reshape(-1, 1, 1, 1)
    assert of(by_class) == (0.5, 0.5)  # every second image, not the first 5000


def test_test_images_are_not_decoded_before_they_are_asked_for(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4}, test={"a": 1, "b": 1})
    found = read(folder_data(root))
    shutil.rmtree(root / "test")
    assert len(found.train) == 6
    with pytest.raises(InputError, match=r"test/a/000\.png: .*No such file"):
        found.load_test()


def test_truncated_test_image_shows_when_it_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", train={"a": 4, "b": 4}, test={"a": 1, "b": 1})
    file = root / "test" / "a" / "000.png"
    file.write_bytes(file.read_bytes()[:48])
    found = read(folder_data(root, unreadable="error"))
    with pytest.raises(InputError, match=r"test/a/000\.png"):
        found.load_test()
