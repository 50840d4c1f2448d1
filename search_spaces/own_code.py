"""Code of the user's own, which a study names by `package.module:name`. No torch.

How that is written, where it is looked for, and its import, only where it is trusted.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from search_spaces.existing.errors import Unreadable

_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_NAMED = f"{_DOTTED}:{_DOTTED}"
NAMED = f"^{_NAMED}$"  # package.module:name, as schemas write a pattern
FOLDERS = "COMPACT_NAS_CODE"  # environment variable: folders beside the installed ones, for processes begun by this one
FAILURES = (Exception, SystemExit)  # what a user's code may raise: a script that parses its arguments ends the program


def is_named(name: object) -> bool:
    """Whether it is written as `package.module:name`."""
    return isinstance(name, str) and re.fullmatch(_NAMED, name) is not None


def make_importable(*folders: Path) -> None:
    """Let modules in these folders be imported, here and in the processes that this one starts.

    They are looked for last, so that none of them takes the place of a library's.
    """
    known = known_folders()
    wanted = dict.fromkeys([*known, *(str(folder.resolve()) for folder in folders)])
    os.environ[FOLDERS] = os.pathsep.join(wanted)


def known_folders() -> list[str]:
    """Those that were told to `make_importable`, here or in the process that began this one."""
    return [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]


@contextmanager
def importable() -> Iterator[None]:
    """What lies in the known folders can be imported; behind all else, so that it takes no other module's place."""
    added = [folder for folder in known_folders() if folder not in sys.path]
    sys.path += added
    try:
        yield
    finally:
        sys.path[:] = [path for path in sys.path if path not in added]


def named_code(name: str, *, trusted: bool, purpose: str) -> Any:
    """What `package.module:name` names; `purpose` completes "would run ...".

    Raises Unreadable, before anything is run, where it is not trusted; and where there is no such module or name.
    """
    if not is_named(name):
        raise Unreadable(f"expected package.module:name, got {name!r}")
    if not trusted:
        raise Unreadable(f"{name} would run {purpose}: expected `trusted: true` or --trust, if you trust it")
    path, _, attribute = name.partition(":")
    found: Any = _module(path)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise Unreadable(f"{name}: {path} has no {attribute}{_meant(part, found)}")
        found = getattr(found, part)
    return found


def told(error: BaseException) -> str:
    """An error of somebody else's code, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _module(path: str) -> ModuleType:
    try:
        with importable():
            return import_module(path)
    except ModuleNotFoundError as error:
        places = ", ".join(known_folders())
        where = f" (looked in {places} and in what is installed)" if places else ""
        raise Unreadable(f"{path}: no module {error.name}{where}") from None
    except FAILURES as error:
        raise Unreadable(f"{path}: could not be imported: {told(error)}") from None


def _meant(name: str, owner: Any) -> str:
    near = difflib.get_close_matches(name, dir(owner), n=1)
    return f"; did you mean {near[0]}?" if near else ""
