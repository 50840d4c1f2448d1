"""The data section: which keys go together, and what follows from the source."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from nas.study import Data, TorchvisionSet


def data(**fields: Any) -> Data:
    needed = {"image_folder": {"path": "d"}, "npz": {"path": "x.npz"}, "torchvision": {"path": "d"}}
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
