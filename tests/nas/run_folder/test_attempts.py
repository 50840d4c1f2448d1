"""Notes of what earlier attempts took."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.run_folder.attempts import NOTE, Spent, forget_spent, note_spent, spent_before


def test_what_was_noted_last_is_there_until_it_is_forgotten(tmp_path: Path) -> None:
    assert spent_before(tmp_path / "new") == Spent()
    for seconds in (1.5, 2.5):
        note_spent(tmp_path / "new", Spent({"train": seconds, "teach": 1.0}, "2030-01-01T00:00:00+00:00"))
    found = spent_before(tmp_path / "new")
    assert (dict(found.seconds), found.started_at) == ({"train": 2.5, "teach": 1.0}, "2030-01-01T00:00:00+00:00")
    for _ in range(2):
        forget_spent(tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seconds": 3, "started_at": ""}', '{"seconds": {"a": "b"}}', "\0"])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    assert spent_before(tmp_path) == Spent()
