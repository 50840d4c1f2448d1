"""The data section: which keys go together, and what follows from the source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from nas.study import Data, TorchvisionSet
from nas.study.data import SOURCE_KEYS, SourceKeys


def data(**fields: Any) -> Data:
    needed = {"image_folder": {"path": "d"}, "npz": {"path": "x.npz"}, "torchvision": {"path": "d"}}
    needed |= {"csv": {"path": "x.csv"}, "huggingface": {"path": "d"}}
    return Data.model_validate(needed.get(fields["source"], {}) | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "image_folder", "path": None}, "path: expected a folder for source image_folder, got nothing"),
        ({"source": "torchvision", "path": "", "dataset": "MNIST"}, "path: expected a folder for source torchvision"),
        ({"source": "npz", "path": None}, "path: expected a file for source npz, got nothing"),
        ({"source": "torchvision"}, "dataset: expected the name of a set for source torchvision, got nothing"),
        ({"source": "torchvision", "dataset": "ImageNet"}, "Input should be 'CIFAR10'"),
        ({"source": "digits", "dataset": "MNIST"}, "dataset: expected only with source torchvision, got source digits"),
        ({"source": "digits", "path": "images"}, "path: expected none with source digits, .*got 'images'"),
        ({"source": "npz", "download": True}, "download: expected only with source torchvision, got source npz"),
        ({"source": "npz", "group_pattern": "a"}, "group_pattern: expected only with source image_folder, got source"),
        ({"source": "csv", "path": None}, "path: expected a file for source csv, got nothing"),
        (
            {"source": "npz", "group_scope": "all"},
            "group_scope: expected only with source image_folder, got source npz",
        ),
        ({"source": "npz", "root": "d"}, "root: expected only with source csv, got source npz"),
        ({"source": "npz", "columns": {"image": "a"}}, "columns: expected only with source csv or huggingface, got"),
        (
            {"source": "huggingface", "columns": {"split": "fold"}},
            r"columns\.split: expected only with source csv, got source huggingface",
        ),
        (
            {"source": "digits", "class_names": "a.txt"},
            "class_names: expected only with source csv or huggingface or im",
        ),
        ({"source": "image_folder", "group_pattern": "(a"}, r"expected a regular expression, got '\(a' \(missing \)"),
        ({"source": "digits", "resize": "pad"}, "Input should be 'stretch', 'crop' or 'letterbox'"),
        ({"source": "digits", "unreadable": "keep"}, "Input should be 'skip' or 'error'"),
    ],
)
def test_keys_that_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        data(**fields)


def test_signs_are_not_mirrored_unless_asked_for() -> None:
    mirrored = {name: data(source="torchvision", dataset=name).augments_flip for name in get_args(TorchvisionSet)}
    kept = {"MNIST", "KMNIST", "USPS", "SVHN", "GTSRB", "RenderedSST2"}
    assert {name for name, flip in mirrored.items() if not flip} == kept
    assert not data(source="digits").augments_flip
    assert data(source="image_folder").augments_flip
    assert data(source="npz").augments_flip
    assert data(source="digits", flip=True).augments_flip
    assert not data(source="npz", flip=False).augments_flip


def test_channels_follow_the_source() -> None:
    grey = {name for name in get_args(TorchvisionSet) if data(source="torchvision", dataset=name).input_channels == 1}
    assert grey == {"MNIST", "FashionMNIST", "KMNIST", "USPS"}
    assert data(source="digits").input_channels == 1
    assert data(source="npz").input_channels == data(source="digits", channels=3).input_channels == 3


def test_reports_name_the_data_and_not_where_they_lie() -> None:
    titles = {name: data(source=name, **options).title for name, options in {
        "csv": {"path": "/home/me/t.csv"}, "digits": {}, "huggingface": {"path": "/home/me/hub/beans"},
        "image_folder": {"path": "/home/me/fruit"}, "npz": {"path": "/home/me/blood.npz"},
        "torchvision": {"path": "/home/me/sets", "dataset": "SVHN"},
    }.items()}  # fmt: skip
    assert titles == {
        "csv": "images of t.csv", "digits": "digits (scikit-learn)", "huggingface": "images of beans",
        "image_folder": "images of fruit", "npz": "images of blood.npz",
        "torchvision": "SVHN (torchvision)",
    }  # fmt: skip


def test_a_source_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it needs, which keys are its own, and what follows from it: by its row alone."""
    row = SourceKeys(
        lambda _: "squares", path=None, needs={"dataset": "a number"}, own=("download",), is_grey=lambda _: True
    )
    monkeypatch.setitem(SOURCE_KEYS, "digits", row)
    with pytest.raises(ValidationError, match="dataset: expected a number for source digits, got nothing"):
        data(source="digits")
    with pytest.raises(
        ValidationError, match="download: expected only with source digits or torchvision, got source npz"
    ):
        data(source="npz", download=True)
    monkeypatch.setitem(SOURCE_KEYS, "digits", replace(row, needs={}))
    made = data(source="digits", download=True)
    assert (made.title, made.input_channels, made.augments_flip) == ("squares", 1, True)


def test_the_reference_can_say_what_each_source_expects() -> None:
    assert all(row.expects for row in SOURCE_KEYS.values())
