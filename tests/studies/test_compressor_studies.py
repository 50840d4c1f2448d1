"""Every study of a compressor ends in a front of files that compute what their networks do."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = sorted((Path(__file__).parents[2] / "studies" / "compressors").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_of_a_compressor_runs(path: Path, tmp_path: Path) -> None:
    """Some trial is compressed as the study offers; its files are there and agree with torch."""
    folder = tmp_path / "run"
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(path), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "front.csv").open(encoding="utf-8", newline="") as file:
        front = list(csv.DictReader(file))
    assert front
    assert all(float(row["accuracy"]) > 0.3 for row in front)
    assert not [row for row in front if "parity" in row["flags"]]
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = list(csv.DictReader(file))
    assert not [row["reason"] for row in trials if row["state"] == "FAILED"]
    plans = [json.loads(file.read_text(encoding="utf-8")).get("plan", {}) for file in folder.rglob("candidate.json")]
    assert any(plan for plan in plans)
