"""The page of all keys: as it stands in the repository, and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas.study.reference import COMMAND, reference
from nas.study.source_keys import SOURCE_KEYS
from nas.study.words import SCHEMA

PAGE = reference()
FILE = Path(__file__).parents[3] / "studies" / "reference.md"
WAYS = ("RangeOf", "ChoicesOf")
SECTIONS = {"Study": SCHEMA} | {k: v for k, v in SCHEMA["$defs"].items() if not k.startswith(WAYS)}


def rows(page: str) -> list[list[str]]:
    """The cells of every row of a table."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_in_the_repository_is_of_this_schema() -> None:
    assert FILE.read_text(encoding="utf-8") == PAGE, f"make it again: {COMMAND} > studies/reference.md"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_a_section_is_there(name: str) -> None:
    listed = {row[0].strip("`") for row in rows(PAGE)}
    spelled = set(re.findall(r"\{(\w+): ", PAGE))
    headed = set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE))
    assert set(SECTIONS[name]["properties"]) <= listed | spelled | headed


def test_each_row_says_what_may_be_given_its_default_and_its_meaning() -> None:
    found = rows(PAGE.replace(page_of_sources(), ""))
    assert all(len(row) == 4 and all(row) for row in found)
    by_key = {row[0]: row for row in reversed(found)}  # finals has keys of training too
    assert by_key["`trials`"][1:3] == ["an integer of at least 1", "`24`"]
    assert by_key["`name`"][2] == by_key["`source`"][2] == "required"
    assert by_key["`stages`"][2] == "of the preset"
    assert by_key["`shares`"][2] == '`{"dense": 0.5, "pruned": 0.2, "quantized": 0.3}`'
    assert by_key["`columns`"][2] == by_key["`hypervolume_reference`"][2] == "–"
    assert by_key["`blocks`"][1].startswith("a mapping of at least 1 with keys among residual, ")
    assert by_key["`latency_ms`"][1] == "{max: a number above 0}"
    assert ["`weight_decay`", "a number of at least 0 or {low, high, log} or {choices}"] in [row[:2] for row in found]
    assert not [row for row in found if "null" in row[1]]


def page_of_sources() -> str:
    return PAGE[PAGE.index("| `source` | what it expects") : PAGE.index("## space")]


def test_every_source_has_a_row() -> None:
    named = {row[0]: row for row in rows(page_of_sources())[1:]}
    assert list(named) == [f"`{name}`" for name in SOURCE_KEYS]
    expected = f"a folder: {SOURCE_KEYS['torchvision'].expects}"
    assert named["`torchvision`"] == ["`torchvision`", expected, "`dataset`, the name of a set", "`download`"]


def test_families_share_what_they_have_in_common() -> None:
    """Once, not three times."""
    keys = [row[0] for row in rows(PAGE)]
    assert keys.count("`stem_widths`") == 1
    assert keys.count("`squeeze_excite`") == 2  # of mobile, and of the kinds of a mixed space
