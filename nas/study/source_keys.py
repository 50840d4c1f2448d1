"""What each value of `data.source` asks of the other keys of the section `data`, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

GREY_SETS = ("MNIST", "FashionMNIST", "KMNIST", "USPS")
MIRRORED_MEANS_ANOTHER = ("MNIST", "KMNIST", "USPS", "SVHN", "GTSRB", "RenderedSST2")


class Named(Protocol):
    """What of the section `data` says which set it is."""

    @property
    def path(self) -> str | None: ...
    @property
    def dataset(self) -> str | None: ...


@dataclass(frozen=True)
class SourceKeys:
    """What a source asks of the other keys, and what follows from it.

    title: what reports call the data. path: what `path` has to be, None: there is none. needs: key that must be given
    -> what it is. own: keys, at their defaults elsewhere, that this source has and some others have not. is_grey,
    keeps_side: where the study does not say, whether images have one channel, and whether a mirrored one would be
    another sign.
    """

    title: Callable[[Named], str]
    path: str | None = "a folder"
    needs: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    is_grey: Callable[[Named], bool] = lambda _: False
    keeps_side: Callable[[Named], bool] = lambda _: False


def _folder_name(data: Named) -> str:
    """Only the folder's name: a report is passed on, and the path says where its maker keeps files."""
    return f"images of {PurePath(data.path or '').name}"


# One row for each value of `data.source`; how its images are listed is a row of nas.data.sources.
SOURCE_KEYS: dict[str, SourceKeys] = {
    "csv": SourceKeys(_folder_name, path="a file", own=("columns", "root", "class_names")),
    "digits": SourceKeys(
        lambda _: "digits (scikit-learn)", path=None, is_grey=lambda _: True, keeps_side=lambda _: True
    ),
    "huggingface": SourceKeys(_folder_name, own=("columns", "class_names")),
    "image_folder": SourceKeys(_folder_name, own=("group_pattern", "group_scope", "class_names")),
    "npz": SourceKeys(_folder_name, path="a file", own=("class_names",)),
    "torchvision": SourceKeys(
        lambda data: f"{data.dataset} (torchvision)",
        needs={"dataset": "the name of a set"},
        own=("dataset", "download"),
        is_grey=lambda data: data.dataset in GREY_SETS,
        keeps_side=lambda data: data.dataset in MIRRORED_MEANS_ANOTHER,
    ),
}


def sources_with(key: str) -> list[str]:
    """The sources that have a key which others have not; none for a key of all."""
    return [source for source, keys in SOURCE_KEYS.items() if key in keys.own]
