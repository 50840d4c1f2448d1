"""What is read of a run folder where other things lie beside its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.files import sole_holder
from nas.run_folder.paths import LOCK, LOGITS, RunFolder, read_evaluation


def test_a_file_of_the_system_is_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert read_evaluation(tmp_path / ".DS_Store") is None
    assert read_evaluation(tmp_path / "missing") is None


def test_a_damaged_evaluation_is_named(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"state": "COMP')
    with pytest.raises(InputError, match=r"evaluation\.json: expected the record of an evaluation, got none"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"epochs": 60}])
def test_a_teacher_is_awaited_while_somebody_trains_it(tmp_path: Path, changes: dict[str, int]) -> None:
    """Not for ever, where it failed or its run was killed and other finals are asked for now."""
    folder = RunFolder(tmp_path)
    teacher = folder.teacher(changes)
    assert not folder.awaits_teacher
    teacher.mkdir()
    assert not folder.awaits_teacher
    with sole_holder(teacher / LOCK):
        assert folder.awaits_teacher
        (teacher / LOGITS).touch()
        assert not folder.awaits_teacher  # held by who reads them
        (teacher / LOGITS).unlink()
    assert not folder.awaits_teacher
