"""Which class a label means: by name, or by its number in a list of names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping

from nas.data.paths import expanded
from nas.errors import InputError
from nas.study import Data

INTEGER = re.compile(r"[+-]?\d+")


def names_of(data: Data) -> tuple[str, ...] | None:
    """The names in the file that the study names; None where it names none.

    Raises InputError where it cannot be read, or holds fewer than two names or one twice.
    """
    if data.class_names is None:
        return None
    path = expanded(data.class_names, "data.class_names")
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _from_json(text) if path.suffix.lower() == ".json" else [line.strip() for line in text.splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"data.class_names: {path}: expected one name per line, or a JSON list: {reason}") from None
    names = [name for name in names if name]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise InputError(f"data.class_names: {path}: expected every name once, got {twice[0]!r} again")
    if len(names) < 2:
        raise InputError(f"data.class_names: {path}: expected at least two names, got {names}")
    return tuple(names)


def _from_json(text: str) -> list[str]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("got JSON of another shape")
    return names


def class_table(values: Collection[str], names: tuple[str, ...] | None) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """The names of the classes, and the class of each value; a value that means none of them is not in it.

    Without `names` every distinct value is a class: in order of size where all are whole numbers, else of spelling.
    With them a value is a name, or, where values are whole numbers and not names, the place of one, from 0.
    """
    numbers = all(INTEGER.fullmatch(value) for value in values)
    if names is None:
        ordered = sorted(set(values), key=lambda value: (int(value), value) if numbers else (0, value))
        return tuple(ordered), {value: label for label, value in enumerate(ordered)}
    if numbers and not set(values) & set(names):
        return names, {value: int(value) for value in values if 0 <= int(value) < len(names)}
    places = {name: place for place, name in enumerate(names)}
    return names, {value: places[value] for value in values if value in places}


def means_no_class(value: str, names: tuple[str, ...]) -> str:
    """Why a value is the label of no class, in words."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"expected a class of {shown}, or 0 to {len(names) - 1}, got {value!r}"


def renamed(folders: tuple[str, ...], names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names for class folders that are numbered; the folders' own without `names`.

    Raises InputError where a folder's name is no number of one of them.
    """
    if names is None:
        return folders
    wrong = [folder for folder in folders if not folder.isdecimal() or int(folder) >= len(names)]
    if wrong or len({int(folder) for folder in folders}) < len(folders):
        came = repr(wrong[0]) if wrong else "two folders of one number"
        expected = f"class folders that are called by the numbers 0 to {len(names) - 1}"
        raise InputError(f"data.class_names: expected {expected}, got {came}")
    return tuple(names[int(folder)] for folder in folders)
