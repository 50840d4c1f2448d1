"""The runtime environment that a study asks for: paths of the user's folder, mistakes named by their key, no Ray."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.executors.ray.runtime_env import checked, environment_of


def test_paths_are_those_of_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is begun in another folder, and would send that one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "requirements.txt").write_text("numpy\n")
    found = checked({"working_dir": ".", "py_modules": ["code", "s3://bucket/x.zip"], "pip": "requirements.txt"})
    assert (found["working_dir"], found["py_modules"]) == (str(tmp_path), [str(tmp_path / "code"), "s3://bucket/x.zip"])
    monkeypatch.chdir("/")
    assert checked(found)["pip"]["packages"] == ["numpy"]  # read already; and taken again as it is
    assert checked({}) == {}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"working_dir": "nowhere"}, r"search\.ray\.runtime_env\.working_dir: expected a folder .*, got 'nowhere'"),
        ({"py_modules": ["nowhere"]}, r"search\.ray\.runtime_env\.py_modules: expected a folder .*, got 'nowhere'"),
        ({"env_vars": {"THREADS": 1}}, r"search\.ray\.runtime_env: .*Dict\[str, str\], but the value 1"),
        ({"pip": "nowhere.txt"}, r"search\.ray\.runtime_env: nowhere\.txt is not a valid file"),
    ],
)
def test_mistakes_are_named(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        checked(asked)


def test_what_a_local_worker_has_and_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/code"]))
    asked = {"env_vars": {"OMP_NUM_THREADS": "7", "MINE": "x"}, "pip": ["numpy"]}
    here, there = (environment_of(asked, threads=2, here=here) for here in (True, False))
    assert here["pip"] == ["numpy"]
    assert (here["env_vars"]["OMP_NUM_THREADS"], here["env_vars"]["MINE"]) == ("7", "x")
    assert (here["env_vars"]["PYTHONSAFEPATH"], here["env_vars"]["PYTHONPATH"]) == ("1", "/code")
    assert here["env_vars"].keys() - there["env_vars"].keys() == {"PYTHONPATH"}
