"""Code of the user's own that a study names by `package.module:name`: how that is written, and where it is looked for.

`existing.code` imports it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = r"[A-Za-z_]\w*"
_NAMED = rf"{_NAME}(\.{_NAME})*:{_NAME}"
NAMED = f"^{_NAMED}$"  # package.module:name, as schemas write a pattern
FOLDERS = "COMPACT_NAS_CODE"  # environment variable: folders beside the installed ones, for processes begun by this one


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
