"""What cannot be exported says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import make_study

from nas.commands.export import export_trial
from nas.errors import InputError
from nas.records import Evaluation, State
from nas.run_folder.paths import write_evaluation
from nas.study.file import dump_study


@pytest.mark.parametrize(("state", "why"), [(State.COMPLETE, "artifacts.keep: front"), (State.FAILED, "state FAILED")])
def test_a_trial_without_its_model(tmp_path: Path, state: State, why: str) -> None:
    (tmp_path / "trials.csv").write_text("number,state,id,artifact\n3,COMPLETE,abc,artifacts/abc/search-0\n")
    evaluation = Evaluation(
        candidate_id="abc", structure_id="", phase="search", seed=0, state=state, target="cpu", started_at=""
    )
    write_evaluation(tmp_path / "artifacts/abc/search-0", evaluation)
    (tmp_path / "study.yaml").write_text(dump_study(make_study()))
    with pytest.raises(InputError, match=why):
        export_trial(tmp_path, "3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_id_that_was_trained_with_other_numbers_needs_a_number(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(
        "number,state,id,artifact\n3,COMPLETE,abcd12,a/t1\n5,DUPLICATE,abcd12,a/t1\n9,COMPLETE,abcd12,a/t2\n"
    )
    with pytest.raises(InputError, match=r"'abcd' fits 2 networks, trials 3 \(abcd12\), 9 \(abcd12\)"):
        export_trial(tmp_path, "abcd", tmp_path / "out")
    (tmp_path / "finalists.csv").write_text("number,trial,state,id,artifact\n0,9,COMPLETE,abcd12,a/final\n")
    with pytest.raises(InputError, match="a/final: holds no finished network"):  # found, and the finalist's
        export_trial(tmp_path, "9", tmp_path / "out")


@pytest.mark.parametrize(("trial", "wanted"), [("7", "1949ab"), ("1949", "1949ab"), ("1949a", "1949ab"), ("19", None)])
def test_a_trial_is_named_by_its_number_or_its_id(tmp_path: Path, trial: str, wanted: str | None) -> None:
    (tmp_path / "trials.csv").write_text("number,state,id,artifact\n7,COMPLETE,1949ab,a/1949ab\n8,COMPLETE,c0,a/c0\n")
    why = rf"{wanted}: holds no finished network" if wanted else "TRIAL: expected a complete trial's number"
    with pytest.raises(InputError, match=why):
        export_trial(tmp_path, trial, tmp_path / "out")
