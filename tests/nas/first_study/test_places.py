"""What lies at a path, or is meant by a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.first_study.choices import settings_of
from nas.first_study.places import holds_pictures, located

Write = Callable[..., Path]


def keys(given: str | Path) -> dict[str, Any]:
    data: dict[str, Any] = settings_of(located(str(given)))["data"]
    return data


def refused(given: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        located(str(given))
    return str(caught.value)


def test_class_folders(write: Write) -> None:
    root = write("cat/0.png", "dog/sub/0.png")
    assert keys(root) == {"source": "image_folder", "path": str(root)}


def test_links_are_followed_and_loops_are_not(write: Write) -> None:
    root = write("cat/0.png", "elsewhere/deep/0.png")
    (root / "cat" / "again").symlink_to(root)
    (root / "dog").mkdir()
    (root / "dog" / "up").symlink_to(root / "dog")
    assert not holds_pictures(root / "dog")
    (root / "dog" / "linked").symlink_to(root / "elsewhere")
    assert holds_pictures(root / "dog")


def test_parts_say_so(write: Write) -> None:
    root = write("train/cat/0.png", "test/cat/0.png")
    assert keys(root) == {"source": "image_folder", "path": str(root)}
    assert "parts train, test" in located(str(root))[0].why


def test_a_path_is_written_as_it_was_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write("cat/0.png", "dog/0.png")
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("HERE", str(root.parent))
    assert keys("d") == {"source": "image_folder", "path": "d"}
    assert keys("$HERE/d") == {"source": "image_folder", "path": "$HERE/d"}


def test_archives_unpack_into_folders_of_one_folder(write: Write) -> None:
    root = write("archive/images/cat/0.png", "archive/images/dog/0.png", "__MACOSX/cat/0.png")
    assert keys(root) == {"source": "image_folder", "path": f"{root}/archive/images"}


@pytest.mark.parametrize(("name", "source"), [("x.npz", "npz"), ("labels.csv", "csv"), ("labels.TSV", "csv")])
def test_files(write: Write, name: str, source: str) -> None:
    root = write("0.png")
    (root / name).write_bytes(b"")
    assert keys(root / name) == {"source": source, "path": f"{root}/{name}"}
    assert keys(root) == {"source": source, "path": f"{root}/{name}"}  # the only one in its folder


@pytest.mark.parametrize("file", ["data-00000-of-00001.arrow", "data/train-00000.parquet"])
def test_folders_that_datasets_fills(write: Write, file: str) -> None:
    root = write()
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_bytes(b"")
    assert keys(root) == {"source": "huggingface", "path": str(root)}
    assert "name the folder it is in" in refused(root / file)


def test_a_table_beside_parts_without_classes(write: Write) -> None:
    root = write("train/0.png", "test/1.png")
    (root / "labels.csv").write_bytes(b"")
    assert keys(root) == {"source": "csv", "path": f"{root}/labels.csv"}


def test_a_table_beside_what_may_be_classes_is_told(write: Write) -> None:
    root = write("images_1/0.png", "images_2/1.png")
    (root / "labels.csv").write_bytes(b"")
    assert keys(root)["source"] == "image_folder"
    assert f"If labels.csv says the classes: nas init {root}/labels.csv." in located(str(root))[0].why


def test_several_tables_are_not_guessed_at(write: Write) -> None:
    root = write("images/0.png")
    for name in ("train.csv", "test.csv"):
        (root / name).write_bytes(b"")
    assert "test.csv, train.csv; name one of them" in refused(root)


@pytest.mark.parametrize(("given", "name"), [("cifar10", "CIFAR10"), ("Fashion-MNIST", "FashionMNIST")])
def test_names_of_sets(given: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert keys(given) == {"source": "torchvision", "dataset": name, "path": "data"}
    assert [choice.key for choice in located(given) if choice.is_suggestion] == ["data.download"]


def test_digits_need_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert keys("digits") == {"source": "digits"}
    (tmp_path / "digits").mkdir()
    assert "an empty folder" in refused("digits")  # a folder of that name goes before the set


@pytest.mark.parametrize("mark", ["cifar-10-batches-py", "MNIST/raw"])
def test_folders_that_torchvision_fills(tmp_path: Path, mark: str) -> None:
    (tmp_path / "d" / mark).mkdir(parents=True)
    name = "MNIST" if "MNIST" in mark else "CIFAR10"
    assert keys(tmp_path / "d") == {"source": "torchvision", "dataset": name, "path": str(tmp_path / "d")}


def test_the_inner_folder_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "d" / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    assert keys(inner) == {"source": "torchvision", "dataset": "CIFAR10", "path": str(tmp_path / "d")}
    monkeypatch.chdir(inner)
    assert keys(".") == {"source": "torchvision", "dataset": "CIFAR10", "path": ".."}


def test_several_sets_in_one_folder(tmp_path: Path) -> None:
    for mark in ("cifar-10-batches-py", "MNIST/raw"):
        (tmp_path / mark).mkdir(parents=True)
    assert f"`nas init MNIST data.path={tmp_path}`" in refused(tmp_path)


def test_nothing_to_learn_from(write: Write) -> None:
    root = write()
    assert "got an empty folder" in refused(root)
    (root / "notes").mkdir()
    (root / "texts").mkdir()
    assert "only the folder(s) notes, texts, without a picture" in refused(root)
    write("0.png", "1.png")
    assert "got 2 pictures beside each other; where a table says their classes" in refused(root)
    write("notes/2.png")
    assert refused(root).endswith("expected one folder of pictures per class, got pictures in notes/ alone")


def test_what_is_not_there_or_no_data(tmp_path: Path) -> None:
    assert "got 'nothing': no such file or folder" in refused("nothing")
    assert "'~nobody-of-this-name/d' names a home folder that is not known" in refused("~nobody-of-this-name/d")
    assert "names an environment variable that is not set" in refused("$NOT_SET_HERE/d")
    (tmp_path / "a.zip").write_bytes(b"")
    assert "unpack it first" in refused(tmp_path / "a.zip")
    (tmp_path / "a.txt").write_bytes(b"")
    assert "got a file 'a.txt'" in refused(tmp_path / "a.txt")
