"""Calibration before a search: what is kept, for whom, and when it ends. The benchmark is a script here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from by_hand import make_study
from synthetic_machine import CLASSES, latency_ms

import nas.measuring.calibration as calibration
import nas.measuring.latency_design as latency_design
from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.measuring.calibration import Calibration, calibrated, read_calibration, seconds_of
from nas.measuring.latency_design import design
from nas.runtimes.runtime import fingerprint
from nas.study import Study, Target

SCRIPT = """
import json, sys
sys.stdin.readline()
for line in json.loads(sys.argv[1]):
    print(json.dumps(line), flush=True)
"""


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Study:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(latency_design, "DRAWN", 40)
    made = make_study().model_copy(update={"objectives": ("accuracy", "latency_ms")})
    return with_search(made, calibration=5)


def with_search(study: Study, **search: Any) -> Study:
    changed = study.search.model_copy(update={"sampler": "pareto", **search})
    return study.model_copy(update={"search": changed})


def answering(monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]], *, script: str = SCRIPT) -> None:
    monkeypatch.setattr(calibration, "BENCHMARK", (sys.executable, "-c", script, json.dumps(lines)))


def answers(study: Study, count: int) -> list[dict[str, Any]]:
    candidates = design(study, CLASSES, count)
    return [{"number": i, "latency_ms": {"cpu": latency_ms(candidate)}} for i, candidate in enumerate(candidates)]


def test_only_targets_of_this_machine_that_count_are_measured(study: Study) -> None:
    """What an agent or another node measures is learned from the trials; without any, there is nothing to calibrate."""
    own, agent = Target(name="cpu"), Target(name="cam", agent="http://127.0.0.1:9")
    idle, device = Target(name="idle"), Target(name="pi5", device="pi5")
    objectives = ("accuracy", "latency_ms", "latency_ms@cam", "latency_ms@pi5")
    several = study.model_copy(update={"targets": (own, agent, idle, device), "objectives": objectives})
    assert calibration.targets_of(several) == (own,)
    assert calibration.seconds_of(several) == 5
    away = several.model_copy(update={"objectives": ("accuracy", "latency_ms@cam")})
    assert (calibration.targets_of(away), calibration.seconds_of(away)) == ((), 0)


def test_what_was_measured_is_kept_with_the_run_and_for_the_user(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, answers(study, 5))
    found, problem = calibrated(study, CLASSES, tmp_path / "one.json")
    assert not problem
    assert found.fingerprints == {"cpu": fingerprint(study.target)}
    assert [ms for _, ms in found.of_target("cpu")] == [latency_ms(c) for c, _ in found.of_target("cpu")]
    assert found.of_target("other") == []
    assert read_calibration(tmp_path / "one.json") == found
    answering(monkeypatch, [])  # nothing is measured again: neither in this folder nor in another
    assert calibrated(study, CLASSES, tmp_path / "one.json") == (found, "")
    assert calibrated(study, CLASSES, tmp_path / "two.json") == (found, "")
    assert read_calibration(tmp_path / "two.json") == found


@pytest.mark.parametrize("what", ["space", "classes", "seconds"])
def test_another_question_is_measured_anew(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    answering(monkeypatch, answers(study, 2))
    calibrated(study, CLASSES, tmp_path / "one.json")
    answering(monkeypatch, answers(study, 3))
    classes = CLASSES + (what == "classes")
    if what == "space":
        study = study.model_copy(update={"space": study.space.model_copy(update={"head_widths": (8,)})})
    if what == "seconds":
        study = with_search(study, calibration=6)
    found, _ = calibrated(study, classes, tmp_path / "two.json")
    assert len(found.samples) == 3


def test_auto_ends_where_enough_is_known(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ENOUGH_SD", 0.5)
    monkeypatch.setattr(calibration, "MOST_CANDIDATES", 30)
    answering(monkeypatch, answers(study, 30))
    found, _ = calibrated(with_search(study, calibration="auto"), CLASSES, tmp_path / "auto.json")
    assert len(found.samples) == calibration.LOOK_EVERY
    found, _ = calibrated(study, CLASSES, tmp_path / "five.json")
    assert len(found.samples) == 30


def test_a_benchmark_that_fails_is_told_and_not_cached(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [], script="raise SystemExit('no engine here')")
    found, problem = calibrated(study, CLASSES, tmp_path / "one.json")
    assert (found.samples, problem) == ((), "no engine here")
    assert read_calibration(tmp_path / "one.json") == found  # a continued search learns nothing else
    answering(monkeypatch, answers(study, 2))
    assert len(calibrated(study, CLASSES, tmp_path / "two.json")[0].samples) == 2


def test_when_stopped_nothing_is_kept(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, answers(study, 4))
    found, _ = calibrated(study, CLASSES, tmp_path / "one.json", stopped=lambda: True)
    assert len(found.samples) == 1
    assert not (tmp_path / "one.json").exists()
    assert not (tmp_path / "cache").exists()


def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    assert read_calibration(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match=r"bad\.json: expected what calibration measured, got something else"):
        read_calibration(tmp_path / "bad.json")


def test_only_where_latency_counts_and_is_predicted(study: Study) -> None:
    assert seconds_of(study) == 5
    assert seconds_of(with_search(study, calibration="auto")) == calibration.MOST_SECONDS
    assert seconds_of(with_search(study, calibration=0)) == 0
    assert seconds_of(with_search(study, sampler="nsga2")) == 0
    without = study.model_copy(update={"objectives": ("accuracy", "size_bytes")})
    assert seconds_of(without) == 0


def test_candidates_come_back_as_they_went(study: Study) -> None:
    candidate = design(study, CLASSES, 1)[0]
    sample = calibration.Sample(candidate=candidate.to_json(), latency_ms={"cpu": 1.5})
    found = Calibration(protocol="p", fingerprints={}, num_classes=CLASSES, samples=(sample,))
    again = Calibration.model_validate_json(found.model_dump_json())
    ((restored, latency),) = again.of_target("cpu")
    assert isinstance(restored, Candidate)
    assert (restored.id, latency) == (candidate.id, 1.5)
