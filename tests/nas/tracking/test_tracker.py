from __future__ import annotations

import json

import pytest
from tracked import Example

from nas.tracking.tracker import artifacts_of, tracked_run, without_secrets


def test_a_run_keeps_its_key(example: Example) -> None:
    first = tracked_run(example.study, example.folder)
    assert tracked_run(example.study, example.folder).key == first.key
    assert json.loads(example.folder.tracking.read_text()) == {"key": first.key}


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_damaged_key_is_replaced(example: Example, text: str) -> None:
    example.folder.tracking.write_text(text)
    assert len(tracked_run(example.study, example.folder).key) == 32


def test_artifacts_are_those_that_are_there(example: Example) -> None:
    assert [file.name for file in artifacts_of(example.folder)] == ["front.csv", "report.html", "study.yaml"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach http://me:pass@host:5000/api", "cannot reach http://...@host:5000/api"),
        ("postgresql+psycopg2://u:p@ss@db/x and //t@y", "postgresql+psycopg2://...@db/x and //...@y"),
        ("mysql://u:p/w@db/x?y=1, or //t@y", "mysql://...@db/x?y=1, or //...@y"),
        ("me@host", "me@host"),
    ],
)
def test_no_password_of_an_address_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
