"""A study with a target behind a real agent, which is killed in mid-measurement while the study runs."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from agents import PATIENCE, TOKEN, agent_process

STUDY = """
name: device
data: {{source: digits, train_images: 150}}
space: {{preset: 8px, kernels: [3], expansions: [1], squeeze_excite: [false], activations: [relu]}}
objectives: [accuracy, size_bytes]
search: {{sampler: random, trials: 3, workers: 1, finalists: 0, trial_minutes: 0.5}}
training: {{epochs: 1, batch_size: 32}}
baseline: false
targets: [{{name: cpu}}, {{name: cam, agent: "{url}"}}]
"""


@pytest.mark.slow
def test_an_agent_that_is_killed_costs_a_study_nothing(tmp_path: Path) -> None:
    study, out = tmp_path / "study.yaml", tmp_path / "run"
    with agent_process() as first:
        study.write_text(STUDY.format(url=first.url))
        run = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", "run", str(study), "--out", str(out)],
            env={**os.environ, "COMPACT_NAS_AGENT_TOKEN": TOKEN}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        end = time.monotonic() + 20 * PATIENCE
        while not list(out.glob("artifacts/*/search-*/untrained/*.onnx")):  # it is measured now
            assert run.poll() is None, run.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.01)
        first.process.kill()
        first.process.wait()
    time.sleep(5)
    with agent_process("--port", str(first.port)):
        said, _ = run.communicate(timeout=20 * PATIENCE)
    assert run.returncode == 0, said
    with (out / "trials.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    finished = [row for row in rows if row["state"] == "COMPLETE"]  # the others repeat one of them
    assert [row["attempts"] for row in finished] == ["1"] * 3
    assert {row["state"] for row in rows} <= {"COMPLETE", "DUPLICATE"}
    assert all(float(row["latency_ms@cam"]) > 0 for row in finished)
    assert not [file for file in out.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
