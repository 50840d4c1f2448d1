"""What of a folder is data: nothing hidden, nothing a system left, every folder once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.data.walking import files_below, folders_in, is_data

HIDDEN = (
    ".ipynb_checkpoints", ".thumbnails", ".git", ".Trash-1000", "__MACOSX", "@eaDir", "$RECYCLE.BIN",
    "System Volume Information", "lost+found", "#recycle", "__pycache__", "@__thumb", "~snapshot", "RESOURCE.FRK",
)  # fmt: skip


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def names(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files_below(folder, (".jpg",))]


@pytest.mark.parametrize(
    "name", [*HIDDEN, "._photo.jpg", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "AlbumArtSmall.jpg"]
)
def test_hidden_and_system_names_are_no_data(name: str) -> None:
    assert not is_data(name)


@pytest.mark.parametrize("name", ["cat", "a.jpg", "_private", "found", "Recycle", "macosx", "x.DS_Store", "~", "é"])
def test_other_names_are(name: str) -> None:
    assert is_data(name)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_hidden_folders_are_not_entered_at_any_depth(tmp_path: Path, hidden: str) -> None:
    touch(tmp_path / "x.jpg", tmp_path / "deep/down/y.jpg", tmp_path / "deep/down/._y.jpg")
    touch(tmp_path / hidden / "x.jpg", tmp_path / "deep/down" / hidden / "further/x.jpg")
    assert names(tmp_path) == ["deep/down/y.jpg", "x.jpg"]
    assert folders_in(tmp_path) == ["deep"]


def test_the_folders_above_may_be_hidden(tmp_path: Path) -> None:
    touch(tmp_path / ".cache/set/x.jpg")
    assert names(tmp_path / ".cache/set") == ["x.jpg"]


def test_a_folder_or_a_pipe_is_no_file_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "folder.jpg/inside.JPG", tmp_path / "notes.txt")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(tmp_path) == ["folder.jpg/inside.JPG"]


def test_links_to_folders_are_followed_and_each_folder_is_read_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/far/z.jpg", tmp_path / "class/z/x.jpg", tmp_path / "other/secret.jpg")
    (tmp_path / "class/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "class/a").symlink_to(tmp_path / "class/z")  # what is there directly goes by that name
    (tmp_path / "class/again").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "class") == ["again/far/z.jpg", "z/x.jpg"]
    (tmp_path / "short").symlink_to(tmp_path / "class")
    assert names(tmp_path / "short") == ["again/far/z.jpg", "z/x.jpg"]
    assert folders_in(tmp_path) == ["class", "elsewhere", "other", "short"]


@pytest.mark.parametrize("target", [".", "..", "../..", "deep"])
def test_loops_end(tmp_path: Path, target: str) -> None:
    """A link upwards leads to other classes: it is not followed."""
    touch(tmp_path / "d/cat/x.jpg", tmp_path / "d/cat/deep/y.jpg", tmp_path / "d/dog/z.jpg")
    (tmp_path / "d/cat/deep/loop").symlink_to(tmp_path / "d/cat" / target)
    assert names(tmp_path / "d/cat") == ["deep/y.jpg", "x.jpg"]


def test_a_link_to_nowhere_is_a_missing_image(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / ".hidden.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert names(tmp_path) == ["gone.jpg", "self.jpg"]
