"""Code of the user's own, by `package.module:name`: imported only where it is trusted. No torch."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from search_spaces.existing.errors import Unreadable
from search_spaces.own_code import known_folders

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def named_code(name: str, *, trusted: bool, purpose: str) -> Any:
    """What `package.module:name` names; `purpose` completes "would run ...".

    Raises Unreadable, before anything is run, where it is not trusted; and where there is no such module or name.
    """
    if not _NAME.fullmatch(name):
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


@contextmanager
def importable() -> Iterator[None]:
    """What lies in the known folders can be imported; behind all else, so that it takes no other module's place."""
    added = [folder for folder in known_folders() if folder not in sys.path]
    sys.path += added
    try:
        yield
    finally:
        sys.path[:] = [path for path in sys.path if path not in added]


def _module(path: str) -> ModuleType:
    try:
        with importable():
            return import_module(path)
    except ModuleNotFoundError as error:
        places = ", ".join(known_folders())
        where = f" (looked in {places} and in what is installed)" if places else ""
        raise Unreadable(f"{path}: no module {error.name}{where}") from None
    except Exception as error:  # whatever the user's module raises while it is imported
        raise Unreadable(f"{path}: could not be imported: {told(error)}") from None


def told(error: BaseException) -> str:
    """An error of somebody else's code, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _meant(name: str, owner: Any) -> str:
    near = difflib.get_close_matches(name, dir(owner), n=1)
    return f"; did you mean {near[0]}?" if near else ""
