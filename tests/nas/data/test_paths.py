"""Where data lie: variables and homes are resolved, or said to be unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.data.paths import folder_of
from nas.errors import InputError
from nas.study import Data


def data(path: str) -> Data:
    return Data.model_validate({"source": "image_folder", "path": path})


def test_a_home_and_variables_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("SET", "flowers")
    assert folder_of(data("~/$SET")) == Path("/somewhere/flowers")
    assert folder_of(data("a~b")) == Path("a~b")


@pytest.mark.parametrize("path", ["~/flowers", "~", "~nobody-of-this-name/flowers"])
def test_a_home_that_is_not_known(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and a user without an entry in the system's list: a container started with any number."""
    import pwd

    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(InputError, match=f"data.path: '{path}' names a home folder that is not known here"):
        folder_of(data(path))


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(InputError, match=r"'\$NOT_SET_HERE/d' names an environment variable that is not set"):
        folder_of(data("$NOT_SET_HERE/d"))
