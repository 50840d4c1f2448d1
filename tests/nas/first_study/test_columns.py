"""Columns of tables of labels, by their names and values, and the folder of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.first_study.choices import settings_of
from nas.first_study.columns import choose_columns

Write = Callable[..., Path]
FILES = [f"images/{i}.png" for i in range(12)]


@pytest.fixture
def table(write: Write) -> Callable[..., Path]:
    """Write pictures below images/, and a table with these columns; `images` of each row stand in the first."""

    def rows(header: str, values: Sequence[str], images: Sequence[str] = FILES, separator: str = ",") -> Path:
        root = write(*FILES)
        lines = [separator.join([image, own]) for image, own in zip(images, values, strict=False)]
        (root / "labels.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return root / "labels.csv"

    return rows


def chosen(table: Path, **asked: str) -> dict[str, Any]:
    data: dict[str, Any] = settings_of(choose_columns(str(table), asked)).get("data", {})
    return data


TWO = ["cat", "dog"] * 6


def test_default_names_need_no_keys(table: Callable[..., Path]) -> None:
    assert chosen(table("image,label", TWO)) == {}
    own = [f"{label},train,{i // 2}" for i, label in enumerate(TWO)]
    assert chosen(table("image,label,split,group", own)) == {}


def test_usual_names(table: Callable[..., Path]) -> None:
    own = [f"{label};train;{i // 2}" for i, label in enumerate(TWO)]
    found = table("File Name;Class_ID;subset;patient_id", own, separator=";")
    assert chosen(found)["columns"] == {
        "image": "File Name", "label": "Class_ID", "split": "subset", "group": "patient_id"
    }  # fmt: skip


def test_files_of_a_folder_beside_the_table_without_suffix(
    table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = table("code,diagnosis", TWO, images=[str(i) for i in range(12)])
    assert chosen(found) == {
        "columns": {"image": "code", "label": "diagnosis"},
        "root": str(found.parent / "images"),
    }
    monkeypatch.setenv("HERE", str(found.parent))
    assert chosen(Path("$HERE/labels.csv"))["root"] == "$HERE/images"


def test_columns_of_long_texts_are_no_files(table: Callable[..., Path]) -> None:
    texts = ["x" * 300, f"either/{'or' * 200}/both"]
    own = [f"{label},{texts[i % 2]}" for i, label in enumerate(TWO)]
    found = table("image,label,caption", own, images=[f"{i}.png" for i in range(12)])
    assert chosen(found) == {"root": str(found.parent / "images")}


def test_the_only_column_that_repeats_is_the_class(table: Callable[..., Path]) -> None:
    own = [f"{i * 0.5},{label}" for i, label in enumerate(TWO)]
    assert chosen(table("image,weight,animal", own)) == {"columns": {"label": "animal"}}


def test_a_column_whose_values_are_no_parts_is_no_split(table: Callable[..., Path]) -> None:
    own = [f"{label},{i % 5}" for i, label in enumerate(TWO)]
    assert chosen(table("image,label,subset", own)) == {}


def test_a_number_of_its_own_for_each_row_is_no_group(table: Callable[..., Path]) -> None:
    own = [f"{label},{i}" for i, label in enumerate(TWO)]
    assert chosen(table("image,label,case", own)) == {}


def test_what_is_unclear_is_asked_for(table: Callable[..., Path]) -> None:
    found = table("image,a,b", [f"{label},{i % 3}" for i, label in enumerate(TWO)])
    with pytest.raises(InputError, match=r"which column names the class, among 'image', 'a', 'b'.*columns\.label=NAME"):
        chosen(found)
    assert chosen(found, label="b") == {"columns": {"label": "b"}}
    with pytest.raises(InputError, match="which column names the files"):
        chosen(table("x,a", TWO, images=["nowhere"] * 12))


def test_some_missing_files_are_for_the_listing_to_name(table: Callable[..., Path]) -> None:
    some = [*FILES[:6], *(f"gone/{i}.png" for i in range(6))]
    assert chosen(table("x,label", TWO, images=some)) == {"columns": {"image": "x"}}


def test_files_elsewhere_are_asked_for(table: Callable[..., Path]) -> None:
    found = table("path,label", TWO, images=[f"{i}.png" for i in range(12)])
    elsewhere = found.parent.rename(found.parent.parent / "e") / "images"
    found = elsewhere.with_name("labels.csv").rename(elsewhere.parent.parent / "labels.csv")
    (found.parent / "e" / "images").rename(found.parent / "e" / "deeper")
    with pytest.raises(InputError, match=r"none of the files that column 'path' names.*data\.root=FOLDER"):
        chosen(found)
    root = str(found.parent / "e" / "deeper")
    assert settings_of(choose_columns(str(found), {}, asked_root=root)) == {"data": {"columns": {"image": "path"}}}


def test_tables_that_are_none(table: Callable[..., Path]) -> None:
    assert not chosen(table("image,label,", TWO))  # the listing names the bad rows
    found = table("image,label", [])
    with pytest.raises(InputError, match="got 0 rows"):
        chosen(found)
    found.write_bytes(b"image,label\n\xff,a\n")
    with pytest.raises(InputError, match="expected UTF-8 text, got byte 0xff"):
        chosen(found)
