"""What `--data` names: the section `data` of a study, and what else a study file says. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from nas.compression.settings import OWN_SECTIONS
from nas.errors import InputError
from nas.first_study.choices import Settings
from nas.study.located_yaml import ProblemError, read_yaml

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

    Raises InputError where it is no study with data.
    """
    path = Path(given)
    try:
        found = read_yaml(path.read_text(encoding="utf-8")).data
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise InputError(f"--data: {given}: cannot be read: {reason}") from None
    except ProblemError as error:
        raise InputError(f"--data: {given}:{error.problem.line}: {error.problem.text}") from None
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise InputError(f"--data: {given}: expected a study with a section data, got none")
    sections = {name: section for name, section in found.items() if name not in OWN_SECTIONS}
    space = found.get("space")
    size = space.get("input_size") if isinstance(space, dict) else None
    return GivenData(data, sections, {} if size is None else {"input_size": size})


def asked_size(overrides: Sequence[str]) -> bool:
    """Whether the user says the size of images."""
    return any(override.partition("=")[0].strip() == "space.input_size" for override in overrides)
