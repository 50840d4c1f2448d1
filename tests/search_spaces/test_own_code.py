"""Code by name: what is found, where it is looked for, and one clear line where it is not there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from search_spaces import own_code
from search_spaces.own_code import FOLDERS, is_named, load_named, make_importable


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDERS, "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.parametrize("name", ["a:B", "a.b_c.d:E1", "_a:_b"])
def test_names_of_code(name: str) -> None:
    assert is_named(name)


@pytest.mark.parametrize("name", ["residual", "a.b", "a:", ":B", "a:B.C", "a b:C", "a..b:C", "a/b:C", "a:B\n", 3, None])
def test_what_is_no_name_of_code(name: object) -> None:
    assert not is_named(name)


def test_what_a_module_holds() -> None:
    assert load_named("search_spaces.own_code:FOLDERS") is own_code.FOLDERS


def test_a_folder_is_looked_in_last(tmp_path: Path) -> None:
    (tmp_path / "their_blocks.py").write_text("Found = 3\n")
    (tmp_path / "json.py").write_text("raise AssertionError('this takes the place of the library')\n")
    del sys.modules["json"]
    make_importable(tmp_path)
    make_importable(tmp_path)
    assert load_named("their_blocks:Found") == 3
    assert load_named("json:__file__") != str(tmp_path / "json.py")
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == os.environ[FOLDERS] == str(tmp_path), "which processes begun by this one inherit"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (None, "nowhere_at_all:X", "nowhere_at_all:X cannot be imported: ModuleNotFoundError: No module named "
         "'nowhere_at_all'; install it, or add its folder to PYTHONPATH"),
        ("import nowhere_at_all", "theirs1:X", "theirs1:X cannot be imported: ModuleNotFoundError: No module named "
         "'nowhere_at_all'"),
        ("raise RuntimeError('two\\nlines')", "theirs2:X", "theirs2:X cannot be imported: RuntimeError: two lines"),
        ("def f(:", "theirs3:X", "theirs3:X cannot be imported: SyntaxError: invalid syntax"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported(tmp_path: Path, text: str | None, name: str, expected: str) -> None:
    if text is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(text)
    make_importable(tmp_path)
    with pytest.raises(ValueError, match="cannot be imported") as error:
        load_named(name)
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


def test_a_module_without_it() -> None:
    with pytest.raises(ValueError, match=r"^json:nothing: module json \(.*json/__init__.py\) has no nothing$"):
        load_named("json:nothing")
