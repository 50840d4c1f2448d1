"""What is read of a run folder where other things lie beside its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.run_folder.paths import read_evaluation


def test_a_file_of_the_system_is_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert read_evaluation(tmp_path / ".DS_Store") is None
    assert read_evaluation(tmp_path / "missing") is None


def test_a_damaged_evaluation_is_named(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"state": "COMP')
    with pytest.raises(InputError, match=r"evaluation\.json: expected the record of an evaluation, got none"):
        read_evaluation(tmp_path)
