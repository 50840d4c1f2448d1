"""Image files: what they are called, what decoding them depends on, and whether they are images at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from nas.data.cache import is_marked, key_of, set_mark
from nas.data.decoding import UNREADABLE, reason_of
from nas.data.pixels import opened, without_metadata


def printable(file: Path) -> str:
    """A path as text; bytes that are no UTF-8 are replaced."""
    return os.fsencode(file).decode(errors="replace")


def opened_bytes(content: bytes) -> Image.Image:
    """As `opened`, of a file's content: an image with its pixels loaded, without metadata where those are damaged."""
    try:
        return _loaded(content)
    except UNREADABLE as error:
        try:
            return _loaded(without_metadata(content))
        except UNREADABLE:
            raise error from None


def _loaded(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def identity_of(files: Sequence[Path]) -> str:
    """What decoding these files depends on: their places, sizes and times of change, which nothing sets back."""
    return "\n".join(f"{os.path.abspath(file)} {_state_of(file)}" for file in files)


def _state_of(file: Path) -> str:
    try:
        stat = file.stat()
    except (OSError, ValueError) as error:  # a link to nowhere, a name of null bytes: unreadable like any other
        return reason_of(error)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def header_faults(files: Sequence[Path], *, remembered: bool) -> dict[int, str]:
    """Open every file far enough to see whether it is an image, before any work starts; once, where all are."""
    mark = key_of(f"headers\n{identity_of(files)}")
    if remembered and is_marked(mark):
        return {}
    with ThreadPoolExecutor(8) as pool:
        faults = {index: fault for index, fault in enumerate(pool.map(_header_fault, files)) if fault}
    if remembered and not faults:
        set_mark(mark)
    return faults


def _header_fault(file: Path) -> str | None:
    try:
        with Image.open(file):
            return None
    except UNREADABLE:
        pass  # damaged metadata may be all that is wrong
    try:
        opened(file).close()
    except UNREADABLE as error:
        return reason_of(error)
    return None
