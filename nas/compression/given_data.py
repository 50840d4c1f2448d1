"""What `--data` names: the section `data` of a study, and what else a study file says. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from nas.compression.settings import OWN_SECTIONS
from nas.errors import InputError
from nas.first_study.choices import Settings
from nas.study.file import load_study
from nas.study.located_yaml import read_yaml

STUDIES = (".yaml", ".yml")


@dataclass(frozen=True)
class GivenData:
    """The section `data`, other sections that come with it, and the side of images that suits them, if it is known."""

    data: Settings
    sections: Settings = field(default_factory=dict)
    space: Settings = field(default_factory=dict)
    suited_size: int | None = None


def is_study(given: str) -> bool:
    return PurePath(given).suffix.lower() in STUDIES


def of_study(given: str) -> GivenData:
    """The data of a study file, with its sections of training and targets; of its space only the size of images.

    Raises InputError, with file and line, where it is no study.
    """
    path = Path(given)
    try:
        sizes = load_study(path).space.input_sizes
    except InputError as error:
        raise InputError(f"--data: {error}") from None
    found = read_yaml(path.read_text(encoding="utf-8")).data  # without the defaults of what it does not say
    sections = {name: section for name, section in found.items() if name not in OWN_SECTIONS}
    return GivenData(found["data"], sections, {"input_size": sizes[0] if len(sizes) == 1 else list(sizes)})


def asked_size(overrides: Sequence[str]) -> bool:
    """Whether the user says the size of images."""
    return any(override.partition("=")[0].strip() == "space.input_size" for override in overrides)
