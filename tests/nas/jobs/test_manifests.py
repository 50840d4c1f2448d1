"""YAML of manifests: any text comes back from a parser of YAML 1.1 and from one of YAML 1.2."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas.jobs.manifests import dump_manifests
from nas.study.located_yaml import read_yaml

TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from("\n\t:#'\"-? "), max_size=30)


@given(st.dictionaries(st.text("abcXYZ-./", min_size=1, max_size=6), TEXTS | st.integers() | st.booleans(), max_size=4))
def test_everything_comes_back(manifest: dict[str, object]) -> None:
    text = dump_manifests([manifest, {"after": [manifest]}])
    assert list(yaml.safe_load_all(text)) == [manifest, {"after": [manifest]}]


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "~", "null", "1e3", "0x1F", "1_000", "12:30", "2026-01-01", ".inf", ""]
)
def test_what_some_parser_takes_for_something_else_is_quoted(word: str) -> None:
    text = dump_manifests([{"key": word}])
    assert text == f'---\nkey: "{word}"\n'
    assert read_yaml(text.removeprefix("---\n")).data == yaml.safe_load(text) == {"key": word}


def test_a_file_stays_readable() -> None:
    text = dump_manifests([{"data": {"study.yaml": "name: a\nb: {c: 1}\n"}, "list": ["x", {"path": "/z"}]}])
    assert text == "---\ndata:\n  study.yaml: |\n    name: a\n    b: {c: 1}\nlist:\n  - x\n  - path: /z\n"
