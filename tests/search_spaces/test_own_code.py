"""Code by name: how it is written, and where it is looked for. `existing/test_bases.py` imports some."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from search_spaces.existing.errors import Unreadable
from search_spaces.own_code import FOLDERS, importable, is_named, known_folders, make_importable, named_code


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDERS, "")
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.parametrize("name", ["a:B", "a.b_c.d:E1", "_a:_b", "a:B.C"])
def test_names_of_code(name: str) -> None:
    assert is_named(name)


@pytest.mark.parametrize("name", ["residual", "a.b", "a:", ":B", "a:B.", "a b:C", "a..b:C", "a/b:C", "a:B\n", 3, None])
def test_what_is_no_name_of_code(name: object) -> None:
    assert not is_named(name)


def test_a_folder_is_known_to_what_is_begun_from_here_and_looked_in_last(tmp_path: Path) -> None:
    (tmp_path / "their_blocks.py").write_text("Found = 3\n")
    (tmp_path / "json.py").write_text("raise AssertionError('this takes the place of the library')\n")
    del sys.modules["json"]
    before = list(sys.path)
    make_importable(tmp_path)
    make_importable(tmp_path)
    assert known_folders() == [os.environ[FOLDERS]] == [str(tmp_path)]
    with importable():
        assert sys.path == [*before, str(tmp_path)]
        assert import_module("their_blocks").Found == 3
        assert import_module("json").__file__ != str(tmp_path / "json.py")
    assert sys.path == before


def test_relative_folders_are_those_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_importable(Path(), Path("other"))
    assert known_folders() == [str(tmp_path), str(tmp_path / "other")]


def test_a_script_that_ends_the_program_is_named(tmp_path: Path) -> None:
    """As one that parses its own arguments does."""
    (tmp_path / "their_script.py").write_text("import sys\nsys.exit(2)\n")
    make_importable(tmp_path)
    with pytest.raises(Unreadable, match=r"^their_script: could not be imported: SystemExit: 2$"):
        named_code("their_script:net", trusted=True, purpose="it")
