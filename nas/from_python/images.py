"""The images of a call: where they lie, or the arrays that they are, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from nas.data.records import Array
from nas.errors import InputError
from nas.first_study.choices import settings_of
from nas.first_study.places import located
from nas.from_python.arrays import Arrays, Labelled, archive_of, digest_of, keep, labelled
from nas.from_python.settings import plain
from nas.study import Data

Place = str | Path | Mapping[str, Any]
Part = Arrays | float | None
KEYS = {"val": "validation", "test": "test"}  # parts of an archive -> keys of the section `data`


@dataclass(frozen=True)
class GivenImages:
    """What a call says of its images.

    parts: arrays of train, and perhaps of val and test; none where the images lie in `place`. shares: what else of
    train becomes a part. flip: None where nothing was said.
    """

    parts: Mapping[str, Labelled]
    place: Mapping[str, Any]
    shares: Mapping[str, float]
    class_names: Sequence[str] | None = None
    flip: bool | None = None

    @property
    def side(self) -> float | None:
        """Of a square of an image's area, in pixels; None where no image was seen."""
        return self.parts["train"].side if self.parts else None

    @property
    def channels(self) -> Literal[1, 3]:
        """Of images as networks see them; 3 where what was given is no section `data`, which is told elsewhere."""
        if self.parts:
            return 1 if self.parts["train"].channels == 1 else 3
        try:
            return Data.model_validate(plain(self.section(Path()))).input_channels
        except ValidationError:
            return 3

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """What is written beside the run."""
        return archive_of(self.parts, self.class_names) if self.parts else {}

    @cached_property
    def digest(self) -> str:
        """Of the arrays, wherever they are written; "" without any."""
        return digest_of(self.arrays) if self.parts else ""

    def section(self, file: Path) -> dict[str, Any]:
        """The section `data` of the study; arrays are in `file`."""
        flip = {} if self.flip is None else {"flip": self.flip}
        if not self.parts:
            return {**self.place, **self.shares, **flip}
        form = {"channels": self.parts["train"].channels, "flip": bool(self.flip)}
        return {"source": "npz", "path": str(file), **form, **self.shares}

    def keep(self, file: Path) -> None:
        """Write the arrays, if there are any. Raises InputError where the file holds others."""
        if self.parts:
            keep(self.arrays, file)


def given_images(
    data: Arrays | Place,
    *,
    validation: Part = None,
    test: Part = None,
    classes: Sequence[str] | None = None,
    flip: bool | None = None,
) -> GivenImages:
    """The images of a call; those of validation and test are arrays too, or shares of the others.

    Raises InputError, which begins with the argument, where they cannot be used.
    """
    asked = {"val": validation, "test": test}
    shares = {KEYS[part]: float(own) for part, own in asked.items() if isinstance(own, int | float)}
    arrays = {part: own for part, own in asked.items() if own is not None and not isinstance(own, int | float)}
    if not isinstance(data, str | Path | Mapping):
        parts = {"train": labelled(data, "data")} | {part: labelled(own, KEYS[part]) for part, own in arrays.items()}
        return GivenImages(parts, {}, shares, classes, flip)
    if arrays or classes is not None:
        name = next(iter([*(KEYS[part] for part in arrays), "classes"]))
        raise InputError(f"{name}: expected only where data are arrays (images, labels), got data={data!r}")
    return GivenImages({}, _place(data), shares, None, flip)


def _place(given: Place) -> dict[str, Any]:
    """The section `data` of a folder, a file or a data set's name, or as it is given."""
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, Any] = settings_of(located(str(given)))["data"]
    return {key: str(Path(value).absolute()) if key == "path" else value for key, value in found.items()}
