"""Folders that hold no classes are recognised, and what is said leads to those that do."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.data.folder_layout import alike_inside, class_folders, parts_of
from nas.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        class_folders(parts_of(root)["train"])
    return str(caught.value)


def test_parts_of_a_set_by_names_of_their_own(tmp_path: Path) -> None:
    """As traffic signs are published: a folder of folders for training, one folder of images for the test."""
    training = [f"Final_Training/Images/{number:05}/00000_00000.ppm" for number in range(3)]
    message = refused(touch(tmp_path, *training, "Final_Test/Images/00000.ppm"))
    assert "parts of a set by other names: Final_Test/ (images without class folders in Images/), " in message
    assert "Final_Training/ (3 folders in Images/); rename or link them" in message


@pytest.mark.parametrize("names", [("seg_train", "seg_test"), ("trainSet", "testSet"), ("TRAIN-1", "VALID-1")])
def test_words_of_parts_in_names(tmp_path: Path, names: tuple[str, str]) -> None:
    root = touch(tmp_path, *(f"{part}/{name}/0.png" for part in names for name in ("cat", "dog")))
    assert f"{names[0]}/ (2 folders)" in refused(root)


@pytest.mark.parametrize(
    "names", [("trains", "tests"), ("bus", "train_station"), ("latest", "devices"), ("test_negative", "test_positive")]
)
def test_classes_whose_names_only_resemble_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    root = touch(tmp_path, *(f"{name}/0.png" for name in names))
    assert class_folders(parts_of(root)["train"]) == tuple(sorted(names))


def test_classes_further_down_are_pointed_to(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"set/images/{name}/0.png" for name in "abc"))
    expected = f"expected at least two class folders in {root}, got ['set']; {root}/set/images holds 3 folders: name it"
    assert expected in refused(root)


def test_images_without_class_folders(tmp_path: Path) -> None:
    assert refused(touch(tmp_path, "0.png", "1.png")).endswith("got []; its images lie in no class folders")


def test_the_same_folders_in_every_class_are_asked_about(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"{part}/{name}/0.png" for part in ("lab", "field") for name in ("cat", "dog")))
    assert "lab/) holds the same folders, cat/, dog/; are those the classes?" in alike_inside(root, ["field", "lab"])
    touch(root, "lab/0.png")
    assert not alike_inside(root, ["field", "lab"])
    assert not alike_inside(touch(tmp_path / "x", "a/film1/0.png", "b/film1/0.png"), ["a", "b"])
    assert not alike_inside(touch(tmp_path / "y", *(f"{n}/{n}{i}/0.png" for n in "ab" for i in "12")), ["a", "b"])
