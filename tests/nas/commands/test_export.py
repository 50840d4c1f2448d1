"""What is exported is what was measured; what cannot be exported says why."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from by_hand import different, evaluated, make_study

import nas.commands.export
from nas.commands.decode import decode_file
from nas.commands.export import export_trial
from nas.errors import InputError
from nas.records import Evaluation, State
from nas.run_folder.paths import write_evaluation
from nas.study.file import dump_study
from nas.tasks import Task


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


TABLE = """number,state,reason,id,artifact
3,COMPLETE,,aaaa12,a/3
4,INFEASIBLE,"latency_ms 2.63, limit 0.3",bbbb34,a/4
5,DUPLICATE,same candidate as trial 3,aaaa12,a/3
6,FAILED,out of memory,cccc56,a/6
"""


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("4", "trial 4 is INFEASIBLE: latency_ms 2.63, limit 0.3"),
        ("bbbb", "trial 4 is INFEASIBLE: latency_ms 2.63, limit 0.3"),
        ("5", "trial 5 is DUPLICATE: same candidate as trial 3"),
        ("6", "trial 6 is FAILED: out of memory"),
    ],
)
def test_a_trial_that_is_not_complete_says_why(tmp_path: Path, trial: str, words: str) -> None:
    (tmp_path / "trials.csv").write_text(TABLE)
    with pytest.raises(InputError, match=rf"beginning of its id, got '{trial}'; {words}$"):
        export_trial(tmp_path, trial, tmp_path / "out")
    with pytest.raises(InputError, match=r"got '7'$"):
        export_trial(tmp_path, "7", tmp_path / "out")


def test_a_fragment_of_an_id_names_nothing(tmp_path: Path) -> None:
    """Only its beginning does: a fragment may lie in ids of many networks."""
    (tmp_path / "trials.csv").write_text("number,state,id,artifact\n7,COMPLETE,1949ab,a/1949ab\n")
    for fragment in ("949a", "49ab", "b", "1949abc"):
        with pytest.raises(InputError, match="expected a complete trial's number or the beginning of its id, got"):
            export_trial(tmp_path, fragment, tmp_path / "out")


MODEL = b"what was measured"


def finished(folder: Path, model: bytes = MODEL, **fields: Any) -> Path:
    """A run folder of one finished trial, 0, whose file was measured as MODEL; what it holds now is `model`."""
    study = make_study()
    (candidate,) = different(1)
    artifact = folder / "artifacts" / candidate.id / "search-0"
    evaluation = evaluated(Task(0, candidate, "search", 0, 8, artifact), study, State.COMPLETE, **fields)
    assert evaluation.measurement is not None
    measurement = evaluation.measurement.model_copy(update={"size_bytes": len(MODEL)})
    write_evaluation(artifact, evaluation.model_copy(update={"measurement": measurement}))
    (artifact / "candidate.json").write_text(json.dumps(candidate.to_json()))
    (artifact / "model.onnx").write_bytes(model)
    (folder / "study.yaml").write_text(dump_study(study), encoding="utf-8")
    place = artifact.relative_to(folder)
    (folder / "trials.csv").write_text(f"number,state,id,artifact\n0,COMPLETE,{candidate.id},{place}\n")
    return artifact


MEASURED = {"model.onnx": hashlib.sha256(MODEL).hexdigest()}


@pytest.mark.parametrize("recorded", [MEASURED, {}])
def test_what_was_measured_is_copied_byte_for_byte(tmp_path: Path, recorded: dict[str, str]) -> None:
    artifact = finished(tmp_path, model_sha256=recorded)
    written = export_trial(tmp_path, "0", tmp_path / "out")
    assert {file.name for file in written} == {
        "model.onnx",
        "candidate.json",
        "evaluation.json",
        "README.md",
        "classes.json",
    }
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    for file in written:
        if file.name not in ("README.md", "classes.json"):
            assert file.read_bytes() == (artifact / file.name).read_bytes()


def test_a_coded_file_is_there_a_second_time(tmp_path: Path) -> None:
    artifact = finished(tmp_path, model_sha256=MEASURED)
    written = export_trial(tmp_path, "0", tmp_path / "out", coded=True)
    assert {"model.onnx", "model.nasz"} <= {file.name for file in written}
    back = decode_file(tmp_path / "out" / "model.nasz", tmp_path / "again.onnx")
    assert back.read_bytes() == (artifact / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("recorded", "model", "words"),
    [
        (MEASURED, b"what was treasured", f"expected sha256 {MEASURED['model.onnx']}, got sha256 "),
        (MEASURED, b"", "expected sha256 "),
        ({"other.onnx": "0"}, MODEL, "expected sha256 none"),
        ({}, b"something longer than that", "expected 17 bytes, got 26 bytes"),
    ],
)
def test_other_bytes_than_those_measured_are_refused(
    tmp_path: Path, recorded: dict[str, str], model: bytes, words: str
) -> None:
    finished(tmp_path, model, model_sha256=recorded)
    with pytest.raises(InputError, match=rf"model\.onnx: is not the file that was measured: {words}"):
        export_trial(tmp_path, "0", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_file_that_is_gone_or_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"cpu": "model.onnx", "ov": "model@ov.onnx"}
    monkeypatch.setattr(nas.commands.export, "file_names", lambda _: names)
    artifact = finished(tmp_path, model_sha256=dict.fromkeys(names.values(), MEASURED["model.onnx"]))
    with pytest.raises(InputError, match=r"model@ov\.onnx: is gone, though it was measured"):
        export_trial(tmp_path, "0", tmp_path / "out")
    (artifact / "model@ov.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"model@ov\.onnx: is not the file that was measured"):
        export_trial(tmp_path, "0", tmp_path / "out")
    (artifact / "model@ov.onnx").write_bytes(MODEL)
    assert tmp_path / "out" / "model@ov.onnx" in export_trial(tmp_path, "0", tmp_path / "out")


def test_the_card_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    finished(tmp_path, model_sha256=MEASURED)
    code = "import sys; from pathlib import Path; from nas.commands.export import export_trial as export\n"
    command = [sys.executable, "-P", "-c", f"{code}export(Path(sys.argv[1]), '0', Path(sys.argv[2]))", str(tmp_path)]
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*command, str(tmp_path / "out")], env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "±" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_a_card_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    finished(tmp_path, model_sha256=MEASURED)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export_trial(tmp_path, "0", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["evaluation.json", "candidate.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\0\0"])
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, name: str, content: str) -> None:
    (finished(tmp_path, model_sha256=MEASURED) / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: expected the record of an? .*, got none"):
        export_trial(tmp_path, "0", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_card_describes_the_candidate_that_was_evaluated(tmp_path: Path) -> None:
    own, other = different(2)
    (finished(tmp_path, model_sha256=MEASURED) / "candidate.json").write_text(json.dumps(other.to_json()))
    with pytest.raises(InputError, match=rf"expected candidate {own.id}, which was evaluated, got {other.id}"):
        export_trial(tmp_path, "0", tmp_path / "out")


def test_of_several_finalists_of_a_trial_the_most_accurate_unless_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("number,state,id,artifact\n9,COMPLETE,abcd12,a/search-0\n")
    (tmp_path / "finalists.csv").write_text(
        "trial,state,id,artifact,accuracy\n9,COMPLETE,abcd12,a/final-1,0.7\n9,COMPLETE,abcd12,a/final-1-t1,0.9\n"
        "9,COMPLETE,abcd12,a/final-1-t2,0.8\n9,FAILED,abcd12,a/final-1-t3,\n"
    )
    for named, found in (("9", "t1"), ("abcd", "t1"), ("a/final-1-t2", "t2"), ("a/search-0", "search-0")):
        with pytest.raises(InputError, match=rf"{found}: holds no finished network"):
            export_trial(tmp_path, named, tmp_path / "out")
    with pytest.raises(InputError, match="TRIAL: expected a complete trial's number"):
        export_trial(tmp_path, "a/final-1-t3", tmp_path / "out")
