"""A study in a real Slurm: preempted, it is queued again and goes on; cancelled, it is not."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Slurm, is_installed, one_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="needs root and Debian's slurm-wlm"),
    pytest.mark.timeout(600),
]
ROOT = Path(__file__).parents[3]
STUDY = """\
name: tiny
data: {source: digits, train_images: 300}
space: {preset: 8px, kernels: [3], expansions: [1, 2], squeeze_excite: [false], activations: [relu]}
compression: {pruning_ratio: [0.0, 0.5], weight_format: [int8, fp32], granularity: network}
objectives: [accuracy, parameters, size_bytes]
search: {sampler: random, trials: 2, workers: 1, finalists: 0}
training: {epochs: 30, batch_size: 16}
baseline: false
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    with one_node(tmp_path / "slurm") as cluster:
        yield cluster


@pytest.fixture
def nas(tmp_path: Path, slurm: Slurm) -> str:
    """The id of the job that `nas submit` hands over, with a `nas` that is this one."""
    command = tmp_path / "bin" / "nas"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m nas.cli "$@"\n')
    command.chmod(0o755)
    slurm.environment["PATH"] = f"{command.parent}:{slurm.environment['PATH']}"
    (tmp_path / "tiny.yaml").write_text(STUDY)
    submit = [command, "submit", "tiny.yaml", "--to", "slurm", "--set", "cpus=1", "--set", "log=log"]
    said = subprocess.run(submit, cwd=tmp_path, env=slurm.environment, capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def await_training(folder: Path) -> None:
    """Wait until a trial has saved its weights."""
    end = time.monotonic() + 120
    while not list(folder.glob("artifacts/*/search-0/checkpoint*")):
        assert time.monotonic() < end, "nothing was trained"
        time.sleep(0.1)


def test_a_preempted_study_goes_on_and_loses_nothing(slurm: Slurm, nas: str, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "tiny"
    await_training(run)
    other = slurm.says(
        "sbatch", "--parsable", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true"
    )
    slurm.wait_for(nas, "PENDING")
    slurm.wait_for(other, "COMPLETED")
    slurm.says("scontrol", "update", f"JobId={nas}", "StartTime=now")
    assert slurm.wait_for(nas, "COMPLETED", "FAILED", seconds=240) == "COMPLETED", (tmp_path / "log").read_text()
    assert slurm.about(nas, "Restarts") == "1"
    with (run / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE"]
    assert [row["number"] for row in rows] == ["0", "1"]
    evaluations = [json.loads(file.read_text()) for file in run.glob("artifacts/*/search-0/evaluation.json")]
    assert len(evaluations) == 2
    assert (run / "report.html").exists()


def test_a_cancelled_study_stays_away(slurm: Slurm, nas: str, tmp_path: Path) -> None:
    await_training(tmp_path / "runs" / "tiny")
    slurm.says("scancel", nas)
    assert slurm.wait_for(nas, "CANCELLED", "PENDING") == "CANCELLED"
    assert slurm.about(nas, "Restarts") == "0"
    ours = f"nas.cli run tiny.yaml|{tmp_path}/runs"  # the driver, a worker
    left = subprocess.run(["pgrep", "--list-full", "--full", ours], capture_output=True, text=True, check=False)
    assert left.stdout == ""
