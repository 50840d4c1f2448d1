"""Labels and the classes they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.data.class_names import class_table, names_of, renamed
from nas.errors import InputError
from nas.study import Data


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ({"b", "a"}, None, (("a", "b"), {"a": 0, "b": 1})),
        ({"10", "9", "-1"}, None, (("-1", "9", "10"), {"-1": 0, "9": 1, "10": 2})),
        ({"10", "9", "x"}, None, (("10", "9", "x"), {"10": 0, "9": 1, "x": 2})),
        ({"0", "1"}, ("u", "v"), (("u", "v"), {"0": 0, "1": 1})),
        ({"0", "2", "-1"}, ("u", "v"), (("u", "v"), {"0": 0})),
        ({"v", "w"}, ("u", "v"), (("u", "v"), {"v": 1})),
        ({"7", "9"}, ("9", "7"), (("9", "7"), {"7": 1, "9": 0})),
    ],
)
def test_class_of_each_value(
    values: set[str], names: tuple[str, ...] | None, expected: tuple[tuple[str, ...], dict[str, int]]
) -> None:
    assert class_table(values, names) == expected


def test_numbered_folders_are_renamed_by_number() -> None:
    names = tuple(f"n{number}" for number in range(12))
    assert renamed(("0", "1", "10", "2"), names) == ("n0", "n1", "n10", "n2")
    assert renamed(("00001", "00000"), names) == ("n1", "n0")
    assert renamed(("a", "b"), None) == ("a", "b")
    for folders in (("0", "12"), ("0", "cat"), ("1", "01")):
        with pytest.raises(InputError, match="called by the numbers 0 to 11, got "):
            renamed(folders, names)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("n.txt", "a\n", r"expected at least two names, got \['a'\]"),
        ("n.txt", "a\nb\na\n", "expected every name once, got 'a' again"),
        ("n.json", '{"a": 0}', "expected one name per line, or a JSON list: got JSON of another shape"),
        ("n.json", "[1, 2]", "got JSON of another shape"),
        ("n.json", '["a", "", "b"]', "got JSON of another shape"),
        ("n.json", "[", "or a JSON list: Expecting value"),
        ("gone.txt", None, "No such file or directory"),
    ],
)
def test_files_that_hold_no_names(tmp_path: Path, file: str, text: str | None, expected: str) -> None:
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=rf"data\.class_names: .*{expected}"):
        names_of(Data(source="npz", path="x", class_names=str(tmp_path / file)))
