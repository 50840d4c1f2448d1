"""Image folders that are one set to be split, and groups read from file names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nas.data.image_files
from nas.data import class_count, load
from nas.data.image_folder import list_image_folder
from nas.data.records import NO_GROUP
from nas.errors import InputError
from nas.study import Data


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def write(root: Path, *names: str) -> Path:
    """One image per name, its shade the place in the list."""
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(root / name)
    return root


def folder_data(root: Path, **options: Any) -> Data:
    return Data.model_validate({"source": "image_folder", "path": str(root), "channels": 1, **options})


def refused(data: Data) -> str:
    with pytest.raises(InputError) as caught:
        load(data, input_size=4, seed=0)
    return str(caught.value)


def test_class_folders_without_train_are_one_set(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i:02}.png" for name in ("cats", "dogs", "trains") for i in range(10)))
    data = folder_data(root, validation=0.2, test=0.3)
    found = load(data, input_size=4, seed=0)
    assert found.class_names == ("cats", "dogs", "trains")
    assert class_count(data) == 3
    for images, count in ((found.train, 5), (found.validation, 2), (found.load_test(), 3)):
        assert np.bincount(images.labels).tolist() == [count] * 3
        assert (images.images[:, 0, 0, 0] // 10 == images.labels).all()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Latin-1 bytes, as old archives leave them: files are read, classes refused."""
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in "ab" for i in range(10)))
    (root / "a" / "0.png").rename(os.fsdecode(os.fsencode(root / "a") + b"/caf\xe9.png"))
    (root / "a" / "1.png").rename(os.fsdecode(os.fsencode(root / "a") + b"/th\xe9.jpg"))
    data = folder_data(root, validation=0.2, test=0.3)
    assert len(load(data, input_size=4, seed=0).train) == 10
    os.truncate(os.fsdecode(os.fsencode(root / "a") + b"/th\xe9.jpg"), 3)
    assert "a/th\N{REPLACEMENT CHARACTER}.jpg: " in refused(folder_data(root, unreadable="error"))
    message = refused(folder_data(root, group_pattern=r"^\d"))
    assert message.endswith("'caf\\udce9.png' does not match, nor do 1 more "
                            f"({root}/a/caf\N{REPLACEMENT CHARACTER}.png)")  # fmt: skip
    (root / "b").rename(os.fsdecode(os.fsencode(root) + b"/\xe9"))
    assert refused(data) == f"data.path: expected names of class folders in UTF-8 in {root}, got '\\udce9'"


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in "ab" for i in range(4)))

    def forbid(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", forbid)
    assert refused(folder_data(root)) == f"data.path: no permission to read {root}"
    with pytest.raises(InputError, match="no permission to read"):
        class_count(folder_data(root))


def test_a_folder_train_makes_it_the_layout_of_parts(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"train/{name}/{i}.png" for name in "ab" for i in range(4)), "other/x.png")
    assert load(folder_data(root), input_size=4, seed=0).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png"], "expected at least two class folders in {root}, got []"),
        (["a/0.png"], "expected at least two class folders in {root}, got ['a']"),
        (
            ["val/a/0.png", "test/a/0.png"],
            "expected a folder train/ with one folder per class in {root}, got only val/",
        ),
    ],
)
def test_folders_that_are_neither(tmp_path: Path, names: list[str], expected: str) -> None:
    root = write(tmp_path / "d", *names)
    assert expected.format(root=root) in refused(folder_data(root))


def test_headers_are_read_again_only_where_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i:02}.png" for name in "ab" for i in range(20)))
    opened: list[str] = []
    fault = nas.data.image_files._header_fault
    monkeypatch.setattr(nas.data.image_files, "_header_fault", lambda file: (opened.append(file.name), fault(file))[1])
    for _ in range(2):
        load(folder_data(root), input_size=4, seed=0)
        assert len(opened) == 40
    (root / "a" / "07.png").write_text("no image")
    for _ in range(2):
        assert len(load(folder_data(root), input_size=4, seed=0).skipped) == 1
    assert len(opened) == 120


def test_a_link_to_nowhere_is_an_unreadable_image(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i:02}.png" for name in "ab" for i in range(20)))
    (root / "a" / "20.png").symlink_to(tmp_path / "gone.png")
    for _ in range(2):
        found = load(folder_data(root), input_size=4, seed=0)
        assert len(found.skipped) == 1
        assert "a/20.png: " in found.skipped[0]
        assert "No such file" in found.skipped[0]


def tracks(groups: int, *, images: int = 4, names: str = "ab") -> list[str]:
    return [f"{name}/track{g:02}_{i}.png" for name in names for g in range(groups) for i in range(images)]


@pytest.mark.parametrize("pattern", [r"^(track\d+)_", r"track\d+", r"(?<=track)(\d+)"])
def test_images_of_one_group_stay_together(tmp_path: Path, pattern: str) -> None:
    names = tracks(10)
    shares = {"validation": 0.2, "test": 0.2}
    data = folder_data(write(tmp_path / "d", *names), group_pattern=pattern, group_scope="all", **shares)
    found = load(data, input_size=4, seed=0)
    parts = [{names[index].split("_")[0][-2:] for index in part} for part in
             (found.split.train, found.split.validation, found.split.test)]  # fmt: skip
    assert [len(part) for part in parts] == [6, 2, 2]  # a track of both classes is one group
    assert len(set.union(*parts)) == 10
    assert load(data, input_size=4, seed=0).split == found.split
    assert any(load(data, input_size=4, seed=seed).split != found.split for seed in (1, 2))


def test_the_pattern_sees_the_path_below_the_class_folder(tmp_path: Path) -> None:
    names = [f"train/{name}/film{g}/{i}.png" for name in "ab" for g in range(5) for i in range(3)]
    data = folder_data(write(tmp_path / "d", *names), group_pattern="^[^/]+", group_scope="all")
    split = load(data, input_size=4, seed=0).split
    parts = [{names[index].split("/")[2] for index in part} for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [3, 1, 1]


@pytest.mark.parametrize(("scope", "first"), [("all", "a"), ("class", "b")])
@pytest.mark.parametrize("given", ["val", "test"])
def test_a_group_in_two_given_parts(tmp_path: Path, given: str, scope: str, first: str) -> None:
    names = [*(f"train/{name}" for name in tracks(5)), *(f"{given}/{name}" for name in tracks(6) if "track05" in name)]
    data = folder_data(write(tmp_path / "d", *names), group_pattern=r"track\d+", validation=0.2, test=0.2)
    assert load(data, input_size=4, seed=0).train
    write(tmp_path / "d", f"{given}/b/track03_9.png")
    data = data.model_copy(update={"group_scope": scope})
    message = refused(data)
    assert f"data: expected groups that each lie in one part, got 1 in both train and {given}, as that of" in message
    assert message.endswith(f"train/{first}/track03_0.png and {tmp_path}/d/{given}/b/track03_9.png")


@pytest.mark.parametrize("names", [("train", "valid"), ("train", "Test"), ("Training", "Testing"), ("train", "dev")])
def test_parts_by_another_name_are_neither_classes_nor_nothing(tmp_path: Path, names: tuple[str, str]) -> None:
    root = write(tmp_path / "d", *(f"{part}/{name}/{i}.png" for part in names for name in "ab" for i in range(9)))
    found = next(name for name in sorted(names) if name != "train")
    message = refused(folder_data(root))
    assert message == f"data.path: expected folders named train/, val/ and test/ in {root}, got {found}/"


def test_a_class_may_be_called_valid(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in ("invalid", "valid") for i in range(9)))
    assert load(folder_data(root), input_size=4, seed=0).class_names == ("invalid", "valid")


def test_an_image_renamed_or_moved_to_another_class_is_another_data_set(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in "ab" for i in range(9)))

    def digest(folder: Path) -> str:
        return load(folder_data(folder), input_size=4, seed=0).split.images

    first = digest(root)
    shutil.copytree(root, tmp_path / "elsewhere")
    assert digest(tmp_path / "elsewhere") == first
    (root / "a" / "0.png").rename(root / "a" / "z.png")
    renamed = digest(root)
    (root / "a" / "8.png").rename(root / "b" / "9.png")
    (root / "b" / "0.png").rename(root / "a" / "8.png")
    assert len({first, renamed, digest(root)}) == 3


def test_a_file_replaced_by_another_of_its_size_and_time_is_decoded_again(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in "ab" for i in range(9)))
    data = folder_data(root, channels=1)
    for shade in (10, 200):
        for file in root.rglob("*"):
            if file.is_file():
                Image.new("L", (4, 4), shade).save(file, format="BMP")
                os.utime(file, ns=(0, 0))
        assert set(load(data, input_size=4, seed=0).train.images.ravel().tolist()) == {shade}


def test_a_file_that_the_pattern_does_not_match(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *tracks(4), "b/deep/odd.png")
    message = refused(folder_data(root, group_pattern=r"track(\d+)"))
    assert message == (
        "data.group_pattern: expected 'track(\\d+)' to match every training file's path below its class folder, "
        f"but 'deep/odd.png' does not match ({root}/b/deep/odd.png)"
    )


def test_numbers_of_films_that_begin_anew_in_each_class(tmp_path: Path) -> None:
    """By default a match belongs to its class, so the films of each class are divided on their own."""
    names = tracks(10)
    data = folder_data(write(tmp_path / "d", *names), group_pattern=r"track\d+", validation=0.2, test=0.2)
    split = load(data, input_size=4, seed=0).split
    films = [{names[i].rpartition("_")[0] for i in part} for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in films] == [12, 4, 4]
    assert len(set.union(*films)) == 20
    numbers = [{film[2:] for film in part} for part in films]
    assert numbers[0] & numbers[1]
    note = next(note for note in list_image_folder(data).notes if "group_pattern" in note)
    assert "'track00_0.png' of class 'a' is of group 'track00', with the others of its class" in note
    assert "20 groups of 4 images" in note


@pytest.mark.parametrize("given", ["val", "test"])
def test_files_of_given_parts_need_no_group(tmp_path: Path, given: str) -> None:
    names = [
        *(f"train/{name}" for name in tracks(6)),
        *(f"{given}/{name}/{i:05}.png" for name in "ab" for i in range(3)),
    ]
    data = folder_data(write(tmp_path / "d", *names), group_pattern=r"track\d+", validation=0.2, test=0.2)
    found = list_image_folder(data)
    assert found.groups is not None
    assert (found.groups[found.given[given]] == NO_GROUP).all()
    assert (found.groups[found.given["train"]] != NO_GROUP).all()
    assert "6 files of given parts match nothing" in found.notes[0]
    assert load(data, input_size=4, seed=0).train


@pytest.mark.parametrize("groups", [1, 2])
def test_a_class_with_too_few_groups(tmp_path: Path, groups: int) -> None:
    names = [*tracks(groups, names="b"), *(name.replace("track", "other") for name in tracks(5, names="a"))]
    message = refused(folder_data(write(tmp_path / "d", *names), group_pattern=r"^([a-z]+\d+)_"))
    assert "class 'b' has too few groups to be split into train, validation and test" in message
    assert f"expected at least 3, got {groups}" in message


@pytest.mark.parametrize("parts", [("",), ("train/", "val/", "test/")])
@pytest.mark.parametrize("junk", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".thumbnails"])
def test_what_tools_leave_behind_is_neither_class_nor_image(tmp_path: Path, parts: tuple[str, ...], junk: str) -> None:
    clean = write(tmp_path / "clean", *(f"{part}{name}/{i}.png" for part in parts for name in "ab" for i in range(9)))
    shutil.copytree(clean, tmp_path / "d")
    for folder in [path for path in (tmp_path / "d").rglob("*") if path.is_dir()] + [tmp_path / "d"]:
        write(folder, f"{junk}/x.png", f"{junk}/a/0.png", "._0.png")
    (tmp_path / "d" / parts[0] / "a" / "folder.png").mkdir()
    expected, found = (load(folder_data(root), input_size=4, seed=0) for root in (clean, tmp_path / "d"))
    assert found.class_names == ("a", "b")
    assert found.split == expected.split
    assert found.skipped == ()
    assert class_count(folder_data(tmp_path / "d")) == 2


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"a/{i}.png" for i in range(9)))
    write(tmp_path / "far", *(f"deep/{i}.png" for i in range(9)))
    (root / "b").symlink_to(tmp_path / "far")
    (root / "b" / "deep" / "loop").symlink_to(root)
    found = load(folder_data(root), input_size=4, seed=0)
    assert sum(map(len, (found.split.train, found.split.validation, found.split.test))) == 18


def test_what_is_left_out_is_known_by_reason(tmp_path: Path) -> None:
    parts = [f"{part}/{name}/{i}.png" for part in ("train", "val", "test") for name in "ab" for i in range(3)]
    root = write(tmp_path / "d", *parts, "stray.png", "train/odd.jpg", "train/a/.hidden.png", "extra/x.png")
    for name in ("README.md", "train/a/notes.txt", "val/b/notes.TXT", "train/b/labels", "test/a/Thumbs.db"):
        (root / name).touch()
    assert list_image_folder(folder_data(root)).left_out == {
        "folders beside the parts": ("extra",),
        "files beside the folders that are read": ("README.md",),
        "images in no class folder": ("stray.png", "train/odd.jpg"),
        "hidden, or made by a system": ("train/a/.hidden.png", "test/a/Thumbs.db"),
        "no image by its suffix (.txt)": ("train/a/notes.txt", "val/b/notes.TXT"),
        "no image by its suffix (none)": ("train/b/labels",),
    }


def test_of_one_set_the_classes_are_not_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"{name}/{i}.png" for name in "ab" for i in range(9)), "c.png", ".git/x.png")
    found = list_image_folder(folder_data(root)).left_out
    assert found == {"hidden, or made by a system": (".git",), "images in no class folder": ("c.png",)}
