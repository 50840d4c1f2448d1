"""What is read of a run folder where other things lie beside its own."""

from __future__ import annotations

from pathlib import Path

from nas.run_folder.paths import read_evaluation


def test_a_file_of_the_system_is_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert read_evaluation(tmp_path / ".DS_Store") is None
    assert read_evaluation(tmp_path / "missing") is None
