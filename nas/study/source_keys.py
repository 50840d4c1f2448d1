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

    title: what reports call the data. expects: what has to lie at `path`, in words for the reference. path: what `path`
    has to be, None: there is none. needs: key that must be given -> what it is. own: keys, at their defaults elsewhere,
    that this source has and some others have not. columns: what of `columns` it reads. is_grey, keeps_side: where the
    study does not say, whether images have one channel, and whether a mirrored one would be another sign.
    """

    title: Callable[[Named], str]
    expects: str = ""
    path: str | None = "a folder"
    needs: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    is_grey: Callable[[Named], bool] = lambda _: False
    keeps_side: Callable[[Named], bool] = lambda _: False


def _folder_name(data: Named) -> str:
    """Only the folder's name: a report is passed on, and the path says where its maker keeps files."""
    return f"images of {PurePath(data.path or '').name}"


# One row for each value of `data.source`; how its images are listed is a row of nas.data.sources.
SOURCE_KEYS: dict[str, SourceKeys] = {
    "csv": SourceKeys(
        _folder_name,
        "a row of column names, then a row per image: `image` (a file relative to the table or to `root`, with or "
        "without suffix), `label`, and `split` and `group` if there are any; other names by `columns`",
        path="a file",
        own=("columns", "root", "class_names"),
        columns=("image", "label", "split", "group"),
    ),
    "digits": SourceKeys(
        lambda _: "digits (scikit-learn)",
        "nothing: the scans come with scikit-learn",
        path=None,
        is_grey=lambda _: True,
        keeps_side=lambda _: True,
    ),
    "huggingface": SourceKeys(
        _folder_name,
        "what `save_to_disk` wrote (Arrow), or Parquet files; parts by the names of folders or files; columns `image` "
        "or `img`, `label` or `labels`, and `group` if there is one; other names by `columns`",
        own=("columns", "class_names"),
        columns=("image", "label", "group"),
    ),
    "image_folder": SourceKeys(
        _folder_name,
        "train/ and, optionally, val/ and test/ with a folder of images per class, or the class folders themselves",
        own=("group_pattern", "group_scope", "class_names"),
    ),
    "npz": SourceKeys(
        _folder_name,
        "arrays `images` and `labels` (or `train_images` and `train_labels`, or `x_train` and `y_train`), those of val "
        "and test, `classes` and `groups` if there are any; images (N, H, W), (N, H, W, C) or (N, C, H, W) of 0 to "
        "255, or floats of 0 to 1; labels as numbers, text or one-hot rows",
        path="a file",
        own=("class_names",),
    ),
    "torchvision": SourceKeys(
        lambda data: f"{data.dataset} (torchvision)",
        "the files of the set as torchvision leaves them; with `download: true` they are fetched",
        needs={"dataset": "the name of a set"},
        own=("dataset", "download"),
        is_grey=lambda data: data.dataset in GREY_SETS,
        keeps_side=lambda data: data.dataset in MIRRORED_MEANS_ANOTHER,
    ),
}


def sources_with(key: str) -> list[str]:
    """The sources that have a key which others have not; none for a key of all."""
    return [source for source, keys in SOURCE_KEYS.items() if key in keys.own]
