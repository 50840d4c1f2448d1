"""The section `data`: where the labelled images come from and how they are split."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nas.study.section import AtLeastOne, Section, Share

TorchvisionSet = Literal[
    "CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS", "SVHN", "STL10", "GTSRB", "DTD", "FGVCAircraft",
    "Flowers102", "Food101", "OxfordIIITPet", "RenderedSST2", "StanfordCars", "Imagenette",
]  # fmt: skip
GREY_SETS = ("MNIST", "FashionMNIST", "KMNIST", "USPS")
MIRRORED_MEANS_ANOTHER = ("MNIST", "KMNIST", "USPS", "SVHN", "GTSRB", "RenderedSST2")


class Data(Section):
    """Where the labelled images come from and how they are split."""

    source: Literal["digits", "image_folder", "npz", "torchvision"] = Field(
        description="digits: scikit-learn's 8x8 scans, without any file. image_folder: files below `path`, one folder "
        "per class. npz: the arrays of a file. torchvision: one of its sets, named by `dataset`."
    )
    path: str | None = Field(
        None,
        description="image_folder: a folder with train/ and, if there are any, val/ and test/, or the class folders "
        "themselves. npz: a file with images and labels (or train_images and train_labels), val_ and "
        "test_ ones, classes (names) and groups (images tied together; val_ and test_ ones too) if there are any. "
        "torchvision: where its files lie. ~ and $VARIABLES are resolved.",
    )
    dataset: TorchvisionSet | None = Field(None, description="torchvision's name of the set.")
    download: bool = Field(False, description="Whether torchvision may fetch a set that is not in `path`.")
    validation: Share = Field(
        0.1, description="Fraction of train, stratified by class, that is cut off where there is no validation split."
    )
    test: Share = Field(
        0.1, description="Fraction of train, stratified by class, that is cut off where there is no test split."
    )
    group_pattern: str | None = Field(
        None,
        description="image_folder: a regular expression on a file's path below its class folder; files in which it "
        "finds the same (its first group, if it has one) stay in one part of a split; parts that are given must not "
        "share any. By default no file is tied.",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="1 for grey, 3 for colour; by default 1 for digits and torchvision's grey sets, else 3."
    )
    resize: Literal["stretch", "crop", "letterbox"] = Field(
        "stretch",
        description="How an image that is not square becomes so: stretched, cut to its central square, or whole on "
        "black.",
    )
    unreadable: Literal["skip", "error"] = Field(
        "skip",
        description="Whether a file that is no image is left out (an error all the same where a class loses more than "
        "a tenth by it) or stops the run.",
    )
    duplicates: Literal["warn", "error"] = Field(
        "warn",
        description="Whether a picture that lies in two parts of the split, pixel by pixel as the network sees it, is "
        "warned of or stops the run. Test images are compared when they are read, after the search.",
    )
    flip: bool | None = Field(
        None,
        description="Whether training images are mirrored at random; by default all but digits and torchvision's sets "
        "of characters, numbers and traffic signs.",
    )
    crop_padding: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Pixels by which training images are shifted at most, at random; by default an eighth of the input "
        "size.",
    )
    train_images: AtLeastOne | None = Field(
        None, description="How many training images are used, each class in proportion; by default all."
    )

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.source != "digits" and not self.path:
            kind = "a file" if self.source == "npz" else "a folder"
            raise ValueError(f"path: expected {kind} for source {self.source}, got nothing")
        if self.source == "torchvision" and self.dataset is None:
            raise ValueError("dataset: expected the name of a set for source torchvision, got nothing")
        if self.source == "digits" and self.path:
            raise ValueError(f"path: expected none with source digits, whose scans need no file, got {self.path!r}")
        for key, source in (("dataset", "torchvision"), ("download", "torchvision"), ("group_pattern", "image_folder")):
            if getattr(self, key) and self.source != source:
                raise ValueError(f"{key}: expected only with source {source}, got source {self.source}")
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
    def input_channels(self) -> Literal[1, 3]:
        grey = self.source == "digits" or self.dataset in GREY_SETS
        return self.channels or (1 if grey else 3)

    @property
    def augments_flip(self) -> bool:
        """Whether training mirrors images: not where a mirrored one is another sign, unless the study says so."""
        keeps_side = self.source == "digits" or self.dataset in MIRRORED_MEANS_ANOTHER
        return not keeps_side if self.flip is None else self.flip
