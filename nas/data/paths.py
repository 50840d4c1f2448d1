"""Where a study's data lies."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import InputError
from nas.study import Data


def folder_of(data: Data) -> Path:
    """`data.path`, a folder or a file; `~` and environment variables are resolved."""
    assert data.path is not None
    text = os.path.expandvars(os.path.expanduser(data.path))
    if "$" in text:
        raise InputError(f"data.path: {data.path!r} names an environment variable that is not set")
    return Path(text)
