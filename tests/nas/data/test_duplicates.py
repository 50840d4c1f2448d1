"""The same picture in two parts: how many, which, and what a study makes of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data import Images, load
from nas.data.duplicates import same_pictures
from nas.errors import InputError
from nas.study import Data

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def images(pixels: Array) -> Images:
    return Images(pixels, np.zeros(len(pixels), np.int64))


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8), st.sampled_from([1, 4, 20]))
def test_pairs_are_those_of_comparing_each_with_each(ours: list[int], theirs: list[int], side: int) -> None:
    kinds = np.zeros((6, 3, side, side), np.uint8)
    kinds[1:, 0, 0, 0] = range(1, 6)  # a corner that the first comparison does not look at in large images
    first, second = kinds[np.array(ours, int)], kinds[np.array(theirs, int)]
    expected = [
        (next(i for i, one in enumerate(first) if np.array_equal(one, other)), j)
        for j, other in enumerate(second)
        if any(np.array_equal(one, other) for one in first)
    ]
    assert same_pictures(images(first), images(second)) == expected


def noise(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)


def folder(root: Path, **parts: tuple[Array, ...]) -> Path:
    """Parts of one array of pictures per class: a, b."""
    for part, classes in parts.items():
        for name, pictures in zip("ab", classes, strict=True):
            (root / part / name).mkdir(parents=True)
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(root / part / name / f"{i:02}.{'png' if i % 2 else 'bmp'}")
    return root


def data(root: Path, **options: Any) -> Data:
    return Data.model_validate({"source": "image_folder", "path": str(root), "channels": 1, **options})


def three(root: Path) -> Path:
    """Two validation images and one test image are training images, one of them under another class."""
    train, own = (noise(8), noise(8, 1)), (noise(4, 2), noise(4, 3))
    return folder(
        root,
        train=train,
        val=(np.concatenate([own[0][:2], train[0][5:6]]), np.concatenate([own[1][:2], train[0][:1]])),
        test=(np.concatenate([own[0][2:], train[0][7:]]), np.concatenate([own[1][2:], own[0][1:2]])),
    )


def test_a_leak_is_said_with_its_number_and_its_first_pair(tmp_path: Path) -> None:
    root = three(tmp_path / "d")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load(data(root), input_size=6, seed=0)
        assert found.leaks == (
            f"2 of 6 validation images, 1 of them with another class, are training images too, pixel by pixel: "
            f"first {root}/val/a/02.bmp, which is {root}/train/a/05.png",
        )
        assert not said  # the test images are not read yet
        for _ in range(2):
            assert len(found.load_test()) == 6
    assert [str(warning.message) for warning in said] == [
        f"1 of 6 test images are training images too, pixel by pixel: first {root}/test/a/02.bmp, "
        f"which is {root}/train/a/07.png",
        f"1 of 6 test images, 1 of them with another class, are validation images too, pixel by pixel: "
        f"first {root}/test/b/02.bmp, which is {root}/val/a/01.png",
    ]


def test_a_leak_stops_a_study_that_says_so(tmp_path: Path) -> None:
    root = three(tmp_path / "d")
    with pytest.raises(InputError, match=r"^data\.duplicates: 2 of 6 validation images"):
        load(data(root, duplicates="error"), input_size=6, seed=0)
    for file in ("val/a/02.bmp", "val/b/02.bmp"):
        (root / file).unlink()
    found = load(data(root, duplicates="error"), input_size=6, seed=0)
    for _ in range(2):
        with pytest.raises(InputError, match=r"data\.duplicates: 1 of 6 test .*; 1 of 6 test .* validation images too"):
            found.load_test()


def test_no_leak_is_no_word(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", train=(noise(8), noise(8, 1)), val=(noise(3, 2), noise(3, 3)))
    found = load(data(root, duplicates="error", test=0.2), input_size=6, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.load_test()
    assert found.leaks == ()


def test_where_warnings_are_errors_a_leak_is_still_only_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load(data(three(tmp_path / "d")), input_size=6, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(found.load_test()) == 6
    assert capsys.readouterr().err.startswith("warning: 1 of 6 test images are training images too")


def test_archives_and_any_other_source_are_compared_too(tmp_path: Path) -> None:
    pictures = noise(20)
    arrays = {"images": pictures, "labels": np.arange(20) % 2, "val_images": pictures[3:5], "val_labels": [1, 0]}
    np.savez(tmp_path / "x.npz", **arrays)
    archive = Data.model_validate({"source": "npz", "path": str(tmp_path / "x.npz"), "channels": 1, "test": 0.2})
    found = load(archive, input_size=6, seed=0)
    inside = [index for index in (3, 4) if index in found.split.train]
    assert len(found.leaks) == (1 if inside else 0)
    assert f"{len(inside)} of 2 validation images are training images too" in found.leaks[0]
    assert load(Data(source="digits"), input_size=8, seed=0).leaks == ()
