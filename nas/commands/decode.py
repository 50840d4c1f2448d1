"""`nas decode`: gives the file back that an entropy-coded one was made from."""

from __future__ import annotations

from pathlib import Path, PurePath

from compressors.coding.container import decoded
from compressors.coding.numbers import Damaged
from nas.errors import InputError
from nas.files import write_atomically

CODED, DECODED = ".nasz", ".onnx"  # the ends of file names


def coded_name(name: str) -> str:
    """Name of the coded file beside a model's: model.nasz beside model.onnx."""
    return PurePath(name).stem + CODED


def decode_file(file: Path, to: Path | None = None) -> Path:
    """Write the file that a coded one was made from, by default beside it as .onnx; returns where.

    Raises InputError where there is no such file, it is damaged, or another file is in the way.
    """
    to = file.with_suffix(DECODED) if to is None else to
    try:
        data = decoded(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except Damaged as error:
        raise InputError(f"{file}: {error}") from None
    if to.exists():
        if to.is_file() and to.read_bytes() == data:
            return to
        raise InputError(f"{to}: exists and is something else; --to FILE writes another file")
    write_atomically(to, data)
    return to
