"""Tables of image files: what their columns mean, and every bad row by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.data import class_count, load
from nas.data.csv_images import list_csv
from nas.data.records import NO_GROUP
from nas.errors import InputError
from nas.study import Data


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def table(folder: Path, text: str, **options: Any) -> Data:
    """A CSV file, and a grey image for every cell that ends in .png; its shade is the number in its name."""
    (folder / "t.csv").write_text(text, encoding="utf-8")
    for word in text.replace(";", ",").replace("\t", ",").replace("\n", ",").replace('"', "").split(","):
        if word.endswith(".png"):
            file = folder / word.replace("\\", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), int("".join(filter(str.isdigit, file.stem)))).save(file)
    return Data.model_validate({"source": "csv", "path": str(folder / "t.csv"), "channels": 1, **options})


def rows(count: int = 20, *, head: str = "image,label", line: str = "{i}.png,{label}") -> str:
    return "\n".join([head, *(line.format(i=i, label="ab"[i % 2], j=i // 4) for i in range(count))]) + "\n"


def refused(data: Data) -> str:
    with pytest.raises(InputError) as caught:
        load(data, input_size=4, seed=0)
    return str(caught.value)


@pytest.mark.parametrize(
    ("head", "line", "options"),
    [
        ("image,label", "{i}.png,{label}", {}),
        ("id,image,label,who", "7,{i}.png,{label},me", {}),
        ("label;image", "{label};deep/down/{i}.png", {}),
        ("image\tlabel", "{i}.png\t{label}", {}),
        ("image, label", ' "{i}.png", {label}', {}),
        ("\ufeffimage,label", "{i}.png,{label}", {}),
        ("image,label", "deep\\{i}.png,{label}", {}),
        ("file,diagnosis", "{i}.png,{label}", {"columns": {"image": "file", "label": "diagnosis"}}),
    ],
)
def test_ways_to_write_a_table(tmp_path: Path, head: str, line: str, options: dict[str, Any]) -> None:
    data = table(tmp_path, rows(head=head, line=line.replace(' "{i}.png"', "{i}.png")), **options)
    found = load(data, input_size=4, seed=0)
    assert found.class_names == ("a", "b")
    assert class_count(data) == 2
    for images, indices in ((found.train, found.split.train), (found.load_test(), found.split.test)):
        assert images.images[:, 0, 0, 0].tolist() == list(indices)
        assert images.labels.tolist() == [index % 2 for index in indices]


def test_parts_by_usual_spellings(tmp_path: Path) -> None:
    words = ["Train", "validation", "TEST", "training", "dev"]
    text = "image,label,split\n" + "".join(f"{i}.png,{'ab'[i // 5 % 2]},{words[i % 5]}\n" for i in range(20))
    found = load(table(tmp_path, text), input_size=4, seed=0)
    assert found.train.images[:, 0, 0, 0].tolist() == [0, 3, 5, 8, 10, 13, 15, 18]
    assert found.validation.images[:, 0, 0, 0].tolist() == [1, 4, 6, 9, 11, 14, 16, 19]
    assert found.load_test().images[:, 0, 0, 0].tolist() == [2, 7, 12, 17]


def test_groups_stay_together(tmp_path: Path) -> None:
    data = table(tmp_path, rows(40, head="image,label,group", line="{i}.png,{label},film{j}"), validation=0.2, test=0.2)
    split = load(data, input_size=4, seed=0).split
    parts = [{index // 4 for index in part} for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert len(set.union(*parts)) == 10
    assert list_csv(data).notes == ("images with the same 'group' stay in one part, whatever their class",)


def test_rows_of_given_parts_need_no_group(tmp_path: Path) -> None:
    text = (
        rows(12, head="image,label,group,split", line="{i}.png,{label},film{j},train")
        + "20.png,a,,test\n21.png,b,,test\n"
    )
    groups = list_csv(table(tmp_path, text)).groups
    assert groups is not None
    assert groups[-2:].tolist() == [NO_GROUP, NO_GROUP]
    assert groups[:12].tolist() == sorted(groups[:12].tolist())
    assert len(set(groups[:12].tolist())) == 3
    assert "line 14: no group" in refused(table(tmp_path, text.replace("20.png,a,,test", "20.png,a,,train")))


def test_numbers_are_classes_in_order_of_size(tmp_path: Path) -> None:
    text = "image,label\n" + "".join(f"{i}.png,{(1, 10, 2)[i % 3]}\n" for i in range(30))
    assert load(table(tmp_path, text), input_size=4, seed=0).class_names == ("1", "2", "10")


def test_classes_from_a_file(tmp_path: Path) -> None:
    text = "image,label\n" + "".join(f"{i}.png,{i % 3}\n" for i in range(30))
    (tmp_path / "names.json").write_text('["rose", "aster", "poppy"]')
    found = load(table(tmp_path, text, class_names=str(tmp_path / "names.json")), input_size=4, seed=0)
    assert found.class_names == ("rose", "aster", "poppy")
    assert found.train.labels.tolist() == [index % 3 for index in found.split.train]
    (tmp_path / "names.txt").write_text("poppy\n\nrose\n")
    message = refused(table(tmp_path, text, class_names=str(tmp_path / "names.txt")))
    assert "10 bad row(s):\n  line 4: expected a class of poppy, rose, or 0 to 1, got '2'\n" in message


def test_files_lie_below_root_and_may_lack_a_suffix(tmp_path: Path) -> None:
    table(tmp_path, rows(line="pictures/{i}.png,{label}"))
    data = table(tmp_path, rows(line="{i},{label}"), root=str(tmp_path / "pictures"))
    found = load(data, input_size=4, seed=0)
    assert found.train.images[:, 0, 0, 0].tolist() == list(found.split.train)
    message = refused(data.model_copy(update={"root": str(tmp_path / "nowhere")}))
    assert message.startswith("data.root: expected a folder, got ")


def test_a_set_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    one, two = (load(table(tmp_path / place, rows()), input_size=4, seed=0).split for place in ("one", "two"))
    assert one.images == two.images
    other = load(table(tmp_path / "two", rows(line="x{i}.png,{label}")), input_size=4, seed=0).split
    assert other.images != one.images


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "data.columns.image: expected a column 'image' in {path}, got an empty line"),
        ("file,label\n", "data.columns.image: expected a column 'image' in {path}, got 'file', 'label'"),
        ("image,class\n", "data.columns.label: expected a column 'label' in {path}, got 'image', 'class'"),
        ("image,image,label\n", "data.path: {path}: line 1: expected one column 'image', got 2"),
        ("image,label\n", "data.path: {path}: expected one row per image below the names of the columns, got none"),
        ("image,label\n0.png,a\n1.png,a\n", "data.path: {path}: expected at least two classes, got ['a']"),
        ("image,label\n0.png,a\n\n,b\n2.png\n3.png,\n,\n", "3 bad row(s):\n  line 4: no image\n  line 5: expected 2 "
         "cells, got 1\n  line 6: no label"),
        ("image,label\n./,a\n/,b\n..,b\n1.png,b\n", "3 bad row(s):\n  line 2: expected a file, got './'\n  line 3: "
         "expected a file, got '/'\n  line 4: expected a file, got '..'"),
        ("image,label\n0.png,a\n1.png,b\n./0.png,b\n", "1 bad row(s):\n  line 4: '0.png' stands in line 2 already"),
        ("image,label,split\n0.png,a,train\n1.png,b,fold3\n", "line 3: expected split train, val or test, got 'fold3'"),
        ("image,label,split\n0.png,a,train\n1.png,b,\n", "line 3: no split"),
        ("image,label,split\n0.png,a,test\n1.png,b,test\n", "expected images of train, got only those of test"),
        ("image,label,split\n0.png,a,train\n1.png,b,train\n2.png,b,test\n", "every class in test, got none of 'a'"),
        ('image,label\n"0.png,a\n', "data.path: {path}: line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_tables_that_cannot_serve(tmp_path: Path, text: str, expected: str) -> None:
    assert expected.format(path=tmp_path / "t.csv") in refused(table(tmp_path, text))


def test_lines_are_those_of_the_file_where_cells_hold_line_breaks(tmp_path: Path) -> None:
    text = 'note,image,label\n"two\nlines",0.png,a\nx,1.png,b\ny,,b\n'
    assert "1 bad row(s):\n  line 5: no image" in refused(table(tmp_path, text))


def test_a_file_that_is_missing_is_unreadable_and_named_with_its_line(tmp_path: Path) -> None:
    data = table(tmp_path, rows(60))
    (tmp_path / "7.png").unlink()
    (told,) = load(data, input_size=4, seed=0).skipped
    assert told.startswith(f"{tmp_path / '7.png'} (line 9): ")
    assert "No such file" in told
    assert "1 unreadable image file(s)" in refused(data.model_copy(update={"unreadable": "error"}))


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/1", "null\0byte.jpg"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (told,) = load(table(tmp_path, rows(60) + f"{name},a\n"), input_size=4, seed=0).skipped
    assert "(line 62): " in told


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    data = table(tmp_path, rows())
    (tmp_path / "t.csv").write_bytes(b"image,label\n0.png,caf\xe9\n")
    assert refused(data).endswith("t.csv: expected UTF-8 text, got byte 0xe9")
