"""What cannot be exported says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.exporting import export_trial
from nas.records import Evaluation, State
from nas.run_folder import write_evaluation


@pytest.mark.parametrize(("state", "why"), [(State.COMPLETE, "artifacts.keep: front"), (State.FAILED, "state FAILED")])
def test_a_trial_without_its_model(tmp_path: Path, state: State, why: str) -> None:
    (tmp_path / "trials.csv").write_text("number,state,id,artifact\n3,COMPLETE,abc,artifacts/abc/search-0\n")
    evaluation = Evaluation(
        candidate_id="abc", structure_id="", phase="search", seed=0, state=state, target="cpu", started_at=""
    )
    write_evaluation(tmp_path / "artifacts/abc/search-0", evaluation)
    with pytest.raises(InputError, match=why):
        export_trial(tmp_path, "3", tmp_path / "out")
    assert not (tmp_path / "out").exists()
