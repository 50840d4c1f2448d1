"""From a call's arguments to a study: sections as mappings, arrays as a file beside the run, defaults for the rest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from nas.records import QUALITIES
from nas.study import Study
from nas.study.file import frozen_settings, study_of
from nas.study.section import NAME_PATTERN

Section = Mapping[str, Any]


class Sections(TypedDict, total=False):
    """Sections of a study beside those that are arguments; `nas schema --markdown` lists their keys."""

    compression: Section
    constraints: Section
    search: Section
    training: Section
    finals: Section
    baseline: bool
    targets: Sequence[Section]
    artifacts: Section
    tracking: Sequence[str]
    report: Section


def settings(name: str, data: Section, space: Section, sections: Sections, own: Section) -> Study:
    """The study of these sections, `own` ones filled up by `sections`, whose keys stand above.

    Raises InputError, a line per mistake that begins with its key.
    """
    given: dict[str, Any] = {"name": name, "data": data, "space": space, **own}
    for section, keys in sections.items():
        mine = given.get(section)
        given[section] = {**mine, **keys} if isinstance(mine, Mapping) and isinstance(keys, Mapping) else keys
    given["constraints"] = limits(given.get("constraints", {}))
    return study_of(plain(given))


def limits(given: Any) -> Any:
    """Bounds of costs and qualities, where they are bare numbers as the section has them."""
    if not isinstance(given, Mapping):
        return given
    return {
        name: {"min" if name in QUALITIES else "max": float(bound)} if _is_number(bound) else bound
        for name, bound in given.items()
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Settings as a study file would hold them: no NumPy numbers, no paths, lists for every sequence."""
    match value:
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case np.ndarray() | np.generic():
            return value.tolist()
        case list() | tuple():
            return [plain(inner) for inner in value]
        case Path():
            return str(value)
        case _:
            return value


def name_of(folder: Path | None, default: str) -> str:
    """A study's name from that of its folder."""
    own = "" if folder is None else re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name).strip("-._")[:80]
    return own if re.match(NAME_PATTERN, own) else default


def folder_for(study: Study, digest: str, runs: Path) -> Path:
    """Where a run goes that was given no folder: one for all calls that differ in nothing that a run fixes.

    `digest` stands for arrays, wherever they are written.
    """
    fixed = {key: value for key, value in frozen_settings(study).items() if key != "data.path" or not digest}
    return runs / f"{study.name}-{short_digest([fixed, digest])}"


def short_digest(value: object) -> str:
    """Eight hex digits of what is JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
