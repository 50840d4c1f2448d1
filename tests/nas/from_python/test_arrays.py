"""Arrays and tensors in any usual shape become the same pixels, and what are no images is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data.decoding import Form, decode
from nas.errors import InputError
from nas.from_python.arrays import Labelled, archive_of, digest_of, keep, labelled, pixels_of
from nas.from_python.pictures import as_input

GREY = np.arange(2 * 6 * 5, dtype=np.uint8).reshape(2, 6, 5)
COLOUR = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)


@pytest.mark.parametrize(
    "same",
    [
        GREY,
        GREY.tolist(),
        GREY[..., None],
        GREY[:, None],
        GREY.astype(np.int64),
        GREY / 255,
        (GREY / 255).astype(np.float32),
        GREY.astype(np.float32),
        torch.from_numpy(GREY),
        torch.from_numpy(GREY[:, None] / 255).requires_grad_(),
    ],
    ids=range(10),
)
def test_grey_images_in_any_shape(same: Any) -> None:
    found = pixels_of(same, "data[0]")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, GREY)


@pytest.mark.parametrize(
    "same",
    [COLOUR, COLOUR.transpose(0, 3, 1, 2), COLOUR / 255, torch.from_numpy(COLOUR.transpose(0, 3, 1, 2) / 255)],
    ids=range(4),
)
def test_colour_images_in_any_shape(same: Any) -> None:
    np.testing.assert_array_equal(pixels_of(same, "data[0]"), COLOUR)


def test_a_tensor_that_may_be_either_has_its_channels_first() -> None:
    either = COLOUR[:, :3, :, :]  # (2, 3, 5, 3)
    np.testing.assert_array_equal(pixels_of(torch.from_numpy(either), "x"), either.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(pixels_of(either, "x"), either)


def test_booleans_are_black_and_white() -> None:
    assert set(np.unique(pixels_of(GREY > 20, "x"))) == {0, 255}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (COLOUR / 255 - 0.5, r"data\[0\]: expected values of 0 to 1 or of 0 to 255, got -0.5 to 0.2"),
        (np.full((2, 4, 4), np.nan), "got nan to nan"),
        (np.full((2, 4, 4), 300), "got 300 to 300"),
        (COLOUR[..., :2], r"expected images \(N, H, W\).*, got \(2, 6, 5, 2\)"),
        (np.zeros((0, 8, 8)), r"got \(0, 8, 8\)"),
        (np.zeros(8), r"got \(8,\)"),
        (np.array([["a"]]), "expected numbers, got <U1"),
    ],
)
def test_what_are_no_images_is_refused(images: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        labelled((images, [0, 1]), "data")


@pytest.mark.parametrize(
    ("given_data", "words"),
    [
        (COLOUR, r"data: expected a pair \(images, labels\), got uint8 of shape"),
        ((GREY,), "expected a pair"),
        ((GREY, [0, 1, 2]), "expected as many labels as images, got 2 images and 3 labels"),
        (
            (GREY, [None, "a"]),
            r"data\[1\]: expected labels as numbers or text, one per image, got object of shape \(2,\)",
        ),
    ],
)
def test_what_are_no_labelled_images_is_refused(given_data: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        labelled(given_data, "data")


def test_labels_are_numbers_text_or_tensors() -> None:
    assert labelled((GREY, np.array(["b", "a"], dtype=object)), "data").labels.dtype.kind == "U"
    assert labelled((GREY, torch.tensor([1, 0])), "data").labels.tolist() == [1, 0]


def test_parts_must_have_as_many_channels() -> None:
    parts = {"train": labelled((GREY, [0, 1]), "data"), "test": labelled((COLOUR, [0, 1]), "test")}
    with pytest.raises(InputError, match=r"got 1 channel\(s\) in train, 3 channel\(s\) in test"):
        archive_of(parts)


def test_a_file_is_kept_and_another_refused(tmp_path: Path) -> None:
    arrays = archive_of({"train": labelled((GREY, ["x", "y"]), "data")}, ["y", "x"])
    assert set(arrays) == {"images", "labels", "classes"}
    keep(arrays, file := tmp_path / "run" / "data.npz")
    before = file.stat().st_mtime_ns
    keep(arrays, file)
    assert file.stat().st_mtime_ns == before
    with np.load(file, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["images"], GREY)
    with pytest.raises(InputError, match="holds a run on other images or labels"):
        keep({**arrays, "labels": arrays["labels"][::-1]}, file)
    assert [path.name for path in file.parent.iterdir()] == ["data.npz"]


@given(st.sampled_from(["name", "type", "shape", "value"]))
def test_a_digest_is_of_all_that_arrays_are(change: str) -> None:
    arrays = {"images": GREY, "labels": np.array([0, 1])}
    changed = {
        "name": {"images": GREY, "val_labels": np.array([0, 1])},
        "type": {"images": GREY, "labels": np.array([0, 1], np.int32)},
        "shape": {"images": GREY, "labels": np.array([[0, 1]])},
        "value": {"images": GREY, "labels": np.array([0, 2])},
    }
    assert digest_of(arrays) == digest_of(dict(reversed(arrays.items())))
    assert digest_of(arrays) != digest_of(changed[change])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("images", [GREY, COLOUR, COLOUR[:, :5]], ids=["grey", "colour", "square"])
def test_a_network_is_asked_about_what_it_would_be_trained_on(images: Any, channels: int) -> None:
    for size in (5, 8):
        form = Form(channels, size)
        expected = np.stack([decode(Image.fromarray(image), form) for image in images]).astype(np.float32) / 255
        np.testing.assert_array_equal(as_input(images, form), expected)


def test_side_and_channels() -> None:
    found = Labelled(COLOUR, np.array([0, 1]))
    assert (found.channels, round(found.side, 3)) == (3, 5.477)
    assert Labelled(GREY, np.array([0, 1])).channels == 1
