"""Where a study's data lies."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import InputError
from nas.study import Data


def folder_of(data: Data) -> Path:
    """`data.path`, a folder or a file; `~` and environment variables are resolved."""
    assert data.path is not None
    return expanded(data.path, "data.path")


def expanded(path: str, key: str) -> Path:
    """The path that a study names at `key`, with `~` and environment variables resolved.

    Raises InputError where a variable is not set, or `~` stands for no home that is known.
    """
    text = os.path.expandvars(os.path.expanduser(path))
    if text.startswith("~"):
        raise InputError(f"{key}: {path!r} names a home folder that is not known here; write the whole path")
    if "$" in text:
        raise InputError(f"{key}: {path!r} names an environment variable that is not set")
    return Path(text)


def no_such(path: Path, expected: str, other: str, *, key: str = "data.path") -> InputError:
    """There is none at `path`, or what is there is the `other` of file and folder; says what a relative path is of."""
    where = "" if path.is_absolute() else f" in {Path.cwd()}"
    return InputError(f"{key}: expected {expected}, got {str(path)!r}, which does not exist{where} or is a {other}")
