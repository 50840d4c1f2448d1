"""The text of a study file: read back it is what was chosen, whatever characters there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.first_study.choices import Choice, settings_of
from nas.first_study.document import document, flow
from nas.study.located_yaml import read_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner), max_leaves=6
)


def read(text: str) -> object:
    found = read_yaml(text)
    assert not found.problems
    return found.data


@given(VALUES)
def test_any_value_is_read_back(value: object) -> None:
    assert read(f"key: {flow(value)}\n") == {"key": value}


@pytest.mark.parametrize("text", ["12", "1e3", "true", "null", "~", "~/x", "a: b", "a #b", "[a]", "-", "", "caf\udce9"])
def test_text_stays_text(text: str) -> None:
    assert read(f"{{key: {flow(text)}, other: 1}}") == {"key": text, "other": 1}


@pytest.mark.parametrize("text", ["image_folder", "photos/2020", "32px", "a-b.c"])
def test_plain_words_are_not_quoted(text: str) -> None:
    assert flow(text) == text


def test_reasons_stand_above_keys_and_suggestions_are_comments() -> None:
    choices = [
        Choice("name", "a"),
        Choice("data.source", "digits", "There is no file."),
        Choice("search.trials", 3, "As many as fit.", is_timed=True),
        Choice("data.flip", True, "Where it means the same.", is_suggestion=True),
        Choice("constraints.latency_ms", {"max": 0.5}, "A limit.", is_suggestion=True, is_timed=True),
        Choice("targets", [{"name": "cpu"}], "Here."),
    ]
    text = document(choices, "A heading.")
    assert text == (
        "# A heading.\n\nname: a\n\n"
        "data:\n  # There is no file.\n  source: digits\n  # Where it means the same.\n  # flip: true\n\n"
        "search:\n  # As many as fit.\n  trials: 3  # (machine)\n\n"
        "# A limit.\n# constraints: {latency_ms: {max: 0.5}}  # (machine)\n\n"
        "# Here.\ntargets: [{name: cpu}]\n"
    )
    assert read(text) == settings_of(choices)


def test_no_reason_breaks_out_of_its_comment() -> None:
    why = "class 'a\nname: b' \x85 name: c\u2028d" + " long" * 60
    text = document([Choice("name", "a", why)], why)
    assert read(text) == {"name": "a"}
    assert max(map(len, text.splitlines())) <= 110
