"""Texts pinned by recorded files; `RECORD=1 pytest ...` writes them anew, to be read before they are committed."""

from __future__ import annotations

import os
from pathlib import Path


def is_recorded(text: str, file: Path) -> bool:
    """Whether the file holds this text."""
    if os.environ.get("RECORD"):
        file.write_text(text)
    return file.read_text() == text
