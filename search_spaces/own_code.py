"""Code that a study names by `package.module:attribute`: where it is looked for, and what is said if it is not there.

Importing it runs it, so nothing here is called before the study has said that its code is trusted.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from pathlib import Path

_NAME = r"[A-Za-z_]\w*"
_NAMED = rf"{_NAME}(\.{_NAME})*:{_NAME}"
NAMED = f"^{_NAMED}$"  # package.module:attribute, as schemas write a pattern
FOLDERS = "COMPACT_NAS_CODE"  # environment variable: folders beside the installed ones, for processes begun by this one


def is_named(name: object) -> bool:
    """Whether it is written as `package.module:attribute`."""
    return isinstance(name, str) and re.fullmatch(_NAMED, name) is not None


def make_importable(*folders: Path) -> None:
    """Let modules in these folders be imported, here and in the processes that this one starts.

    They are looked for last, so that none of them takes the place of a library's.
    """
    known = _folders()
    wanted = dict.fromkeys([*known, *(str(folder.resolve()) for folder in folders)])
    os.environ[FOLDERS] = os.pathsep.join(wanted)


def load_named(name: str) -> object:
    """What `package.module:attribute` names. Raises ValueError, in one line, where it cannot be had."""
    module, _, attribute = name.partition(":")
    sys.path += [folder for folder in _folders() if folder not in sys.path]
    try:
        found = import_module(module)
    except Exception as error:  # a module of the user's may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        missing = isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}.")
        hint = "; install it, or add its folder to PYTHONPATH" if missing else ""
        raise ValueError(f"{name} cannot be imported: {reason}{hint}") from None
    if not hasattr(found, attribute):
        raise ValueError(f"{name}: module {module} ({found.__file__}) has no {attribute}")
    attributed: object = getattr(found, attribute)
    return attributed


def _folders() -> list[str]:
    return [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
