"""The section `data`: where the labelled images come from and how they are split."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nas.study.section import AtLeastOne, Section, Share
from nas.study.source_keys import SOURCE_KEYS, SourceKeys, sources_with

TorchvisionSet = Literal[
    "CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS", "SVHN", "STL10", "GTSRB", "DTD", "FGVCAircraft",
    "Flowers102", "Food101", "OxfordIIITPet", "RenderedSST2", "StanfordCars", "Imagenette",
]  # fmt: skip


class Columns(Section):
    """Names of the columns of a table of images, for sources csv and huggingface."""

    image: str | None = Field(
        None,
        description="csv: the file, relative to the table's folder or to `root`; by default `image`. huggingface: the "
        "picture; by default `image` or `img`.",
    )
    label: str | None = Field(
        None, description="The class, as text or as a number; by default `label`, with huggingface also `labels`."
    )
    split: str | None = Field(
        None,
        description="csv: train, val or test (or a usual spelling of these); by default `split`, if there is such a "
        "column, else all rows are one set, to be split.",
    )
    group: str | None = Field(
        None,
        description="What images that stay together have in common, in all classes: a patient, a film; by default "
        "`group`, if there is such a column.",
    )


class Data(Section):
    """Where the labelled images come from and how they are split."""

    source: Literal["csv", "digits", "huggingface", "image_folder", "npz", "torchvision"] = Field(
        description="csv: a table of image files and their classes, `path`. digits: scikit-learn's 8x8 scans, which "
        "need no file. huggingface: a folder that `datasets` saved, or of its Parquet files (`pip install "
        "'compact-nas[huggingface]'`). image_folder: image files in `path`, one folder per class. npz: arrays in the "
        "file `path`. torchvision: the data set named by `dataset`."
    )
    path: str | None = Field(
        None,
        description="csv: a file with one row per image below a row of column names (see `columns`); commas, "
        "semicolons or tabs between. huggingface: a folder of Arrow or Parquet files, named or in folders by split. "
        "image_folder: a folder with train/ and, optionally, val/ and test/, or with the class folders "
        "themselves. npz: a file with images and labels (or train_images and train_labels, or x_train and y_train) "
        "and, optionally, those of val and test, classes (names) and groups (images that stay together; val_ and test_ "
        "too); images are of 0 to 255, or floats in [0, 1]; labels are numbers or text. torchvision: the "
        "folder of its files. ~ and $VARIABLES are resolved.",
    )
    columns: Columns = Field(Columns(), description="csv, huggingface: which column holds what.")
    root: str | None = Field(
        None, description="csv: the folder that the files are relative to; by default that of the table."
    )
    class_names: str | None = Field(
        None,
        description="csv, huggingface, image_folder, npz: a text file with the name of one class per line (or a .json "
        "list), in the order of the numbers by which labels or class folders name them; or, where labels are names, "
        "the order of the classes. By default classes are called as labels or folders are.",
    )
    dataset: TorchvisionSet | None = Field(None, description="torchvision's name of the data set.")
    download: bool = Field(False, description="Whether torchvision may download a data set that is not in `path`.")
    validation: Share = Field(
        0.1,
        description="Fraction of train, stratified by class, that becomes the validation split where there is none.",
    )
    test: Share = Field(
        0.1, description="Fraction of train, stratified by class, that becomes the test split where there is none."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None,
        description="Seed of the parts that are cut from train; by default search.seed. With one of its own, searches "
        "with different seeds have the same split, and `nas merge` can join them.",
    )
    group_pattern: str | None = Field(
        None,
        description="image_folder: a regular expression that is searched in a file's path below its class folder. "
        "Files with the same match (of its first group, if it has one) stay in one part of the split; parts that are "
        "given must not have a match in common, and their files need none. By default files are independent.",
    )
    group_scope: Literal["class", "all"] = Field(
        "class",
        description="class: the same match in two classes makes two groups, as where films are numbered anew in each "
        "class. all: it makes one, as where one patient is in several classes.",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="1 for grey, 3 for colour; by default 1 for digits and torchvision's grey sets, else 3."
    )
    resize: Literal["stretch", "crop", "letterbox"] = Field(
        "stretch",
        description="How an image that is not square is made square: stretched, cropped to its central square, or "
        "padded with black.",
    )
    unreadable: Literal["skip", "error"] = Field(
        "skip",
        description="What happens with a file that cannot be read as an image. skip: it is left out, unless a class "
        "would lose more than a tenth of its files. error: the run stops.",
    )
    duplicates: Literal["warn", "error"] = Field(
        "warn",
        description="Whether a picture that lies in two parts of the split, pixel by pixel as the network sees it, is "
        "warned of or stops the run. Test images are compared when they are read, after the search.",
    )
    cache: bool = Field(
        True,
        description="Whether decoded images of files are kept on disk, where every process maps them and the next run "
        "finds them; `nas cache` shows where and how large. false: each process decodes them into its own memory.",
    )
    flip: bool | None = Field(
        None,
        description="Whether training images are mirrored at random; by default they are, except for digits and "
        "torchvision's data sets of characters, numbers and traffic signs.",
    )
    crop_padding: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Largest random shift of training images, in pixels; by default an eighth of the input size.",
    )
    train_images: AtLeastOne | None = Field(
        None, description="Number of training images to use, each class in proportion; by default all."
    )

    @model_validator(mode="after")
    def _check(self) -> Data:
        keys = self._keys
        needs = keys.needs if keys.path is None else {"path": keys.path, **keys.needs}
        for key, what in needs.items():
            if not getattr(self, key):
                raise ValueError(f"{key}: expected {what} for source {self.source}, got nothing")
        if keys.path is None and self.path:
            raise ValueError(f"path: expected none with source {self.source}, which needs no file, got {self.path!r}")
        for key in dict.fromkeys(key for other in SOURCE_KEYS.values() for key in other.own):
            if key not in keys.own and getattr(self, key) != type(self).model_fields[key].default:
                having = " or ".join(sources_with(key))
                raise ValueError(f"{key}: expected only with source {having}, got source {self.source}")
        for kind, name in self.columns:
            if name is not None and kind not in keys.columns:
                having = " or ".join(source for source, other in SOURCE_KEYS.items() if kind in other.columns)
                raise ValueError(f"columns.{kind}: expected only with source {having}, got source {self.source}")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test: expected less than 1, got {self.validation:g} + {self.test:g}")
        return self

    @field_validator("group_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, got {pattern!r} ({error})") from None
        return pattern

    @property
    def _keys(self) -> SourceKeys:
        return SOURCE_KEYS[self.source]

    @property
    def title(self) -> str:
        """What reports call the data."""
        return self._keys.title(self)

    @property
    def input_channels(self) -> Literal[1, 3]:
        return self.channels or (1 if self._keys.is_grey(self) else 3)

    @property
    def augments_flip(self) -> bool:
        """Whether training mirrors images: not where a mirrored one is another sign, unless the study says so."""
        return not self._keys.keeps_side(self) if self.flip is None else self.flip
