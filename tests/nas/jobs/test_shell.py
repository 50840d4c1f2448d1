"""What a shell makes of the pieces: run by real shells."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import JOB

from nas.jobs.shell import path_word, run_folder, run_with_study, words

TEXTS = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=20)
ECHO = """#!/bin/sh
exec {python} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"
"""


def read_by(shell: str, text: str) -> list[str]:
    done = subprocess.run([shell, "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    """An environment whose `python` and `nas` print their arguments as JSON."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "nas"):
        file = folder / name
        file.write_text(ECHO.format(python=subprocess.sys.executable))  # type: ignore[attr-defined]
        file.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "HOME": str(tmp_path / "my home")}


@settings(max_examples=25)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_each_value_is_one_word(values: list[str]) -> None:
    assert read_by("sh", words(values)) == values


@settings(max_examples=15)
@given(TEXTS)
def test_a_path_is_one_word_and_only_a_leading_tilde_is_a_home(path: str) -> None:
    expected = path.replace("~", os.environ["HOME"], 1) if path == "~" or path.startswith("~/") else path
    assert read_by("bash", path_word(path)) == [expected.removesuffix("/") if path == "~/" else expected]


def test_the_home_folder_is_that_of_the_job() -> None:
    assert path_word("~/a b") == "\"$HOME\"/'a b'"
    assert path_word("~other/x") == "'~other/x'"
    assert run_folder(JOB, "/runs/") == "/runs/digits"


def test_the_study_is_written_and_run_with_the_very_values(stand_in: dict[str, str], tmp_path: Path) -> None:
    awkward = replace(JOB, text="a: 'b'\n\\n $HOME `id` %s %% \"\n\n", overrides=("a=b c", "d='e'", "f=$(id)", "-g"))
    script = "set -e\n" + run_with_study(awkward, "~/all runs")
    done = subprocess.run(["sh", "-c", script], env=stand_in, cwd=tmp_path, capture_output=True, text=True, check=True)
    out = f"{stand_in['HOME']}/all runs/digits"
    assert json.loads(done.stdout) == [
        "-m",
        "nas.cli",
        "run",
        f"{out}.yaml",
        *awkward.overrides,
        "--out",
        out,
    ]
    assert Path(f"{out}.yaml").read_text() == awkward.text
