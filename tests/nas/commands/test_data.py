"""What check and run show of the data, and what check refuses because a run would."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn import draw, study
from rich.console import Console

import nas.commands.data
from nas.commands.data import look_at_data
from nas.errors import InputError
from nas.study import Study

FILMS = "film{film:02}_{0:03}.png"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def looked_at(one: Study) -> str:
    console = Console(width=150)
    with console.capture() as shown:
        look_at_data(one, console)
    return shown.get()


def test_everything_is_shown(tmp_path: Path) -> None:
    draw(tmp_path, name=FILMS)
    (tmp_path / "d" / "a" / "notes.txt").touch()
    text = looked_at(study(tmp_path, group_pattern=r"film\d+", validation=0.2, test=0.2))
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["a", "12", "4", "4"] in rows
    assert ["all", "24", "8", "8"] in rows
    for words in (
        "group_pattern 'film\\d+'",
        "left out, no image by its suffix (.txt): 1 (a/notes.txt)",
        "a trial: 20",
    ):
        assert words in text
    assert "warning: training.epochs: a trial has" in text


def test_pixels_are_refused_as_a_run_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, name=FILMS)
    for file in (tmp_path / "d" / "a").iterdir():
        file.write_bytes(file.read_bytes()[:60])  # a sound header
    with pytest.raises(InputError, match="unreadable image file"):
        looked_at(study(tmp_path))
    monkeypatch.setattr(nas.commands.data, "MOST_READ", 30)
    assert "pixels are read when the study is probed or run" in looked_at(study(tmp_path))


def test_the_same_picture_in_two_parts_is_warned_of(tmp_path: Path) -> None:
    draw(tmp_path, name=FILMS)
    for number in range(10):
        (tmp_path / "d" / "a" / f"copy{number}.png").write_bytes((tmp_path / "d" / "a" / "film00_000.png").read_bytes())
    assert "are training images too" in looked_at(study(tmp_path, validation=0.3, test=0.3)).replace("\n", " ")
