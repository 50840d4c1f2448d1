"""Ray's job API for real: a cluster with a token takes a study, and nothing without the token."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ports import free_port

pytest.importorskip("ray.job_submission", reason="needs ray[default]")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[3]
STUDY = """\
name: tiny
data: {source: digits, train_images: 150}
space: {preset: 8px, kernels: [3], expansions: [1], squeeze_excite: [false], activations: [relu]}
compression: {pruning_ratio: 0.0, weight_format: int8, granularity: network}
objectives: [accuracy, parameters]
search: {sampler: random, trials: 1, finalists: 0}
training: {epochs: 1, batch_size: 32}
baseline: false
"""


@dataclass(frozen=True)
class Cluster:
    """A Ray with a dashboard and a token; environment: of a user who has the token."""

    address: str
    environment: dict[str, str]

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers), timeout=10) as answer:
            return json.load(answer)

    def submit(self, folder: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`nas submit` in a process of its own: Ray reads mode and token once, when it is imported."""
        command = [sys.executable, "-m", "nas.cli", "submit", "tiny.yaml", "--to", "ray"]
        given = ["--set", f"address={self.address}", "--set", f"runs={folder}/the runs", *more]
        variables = {**self.environment, **environment}
        return subprocess.run(
            [*command, *given], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """It has its own ports and folder, and is dead when the test is over."""
    dashboard = free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the entrypoint's `python` is this one
    environment = {**os.environ, **token, "PYTHONPATH": str(ROOT), "PATH": path}
    with TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ports = [
            f"--{name}={free_port()}" for name in ("port", "ray-client-server-port", "dashboard-agent-listen-port")
        ]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *ports]
        command += [
            f"--dashboard-port={dashboard}",
            "--dashboard-host=127.0.0.1",
            "--num-cpus=2",
            f"--temp-dir={folder}",
        ]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
        with Path(folder, "log").open("w") as log:
            head = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            made = Cluster(f"http://127.0.0.1:{dashboard}", environment)
            await_answer(made)
            yield made
        finally:
            head.terminate()
            head.wait(60)
            left = subprocess.run(
                ["pgrep", "--list-full", "--full", folder], capture_output=True, text=True, check=False
            )
    assert left.stdout == ""


def await_answer(cluster: Cluster) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError):
            cluster.get("/api/version")
            return
        time.sleep(0.5)
    raise AssertionError(f"{cluster.address} does not answer")


def test_a_study_runs_on_the_head_and_only_with_the_token(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    wrong = cluster.submit(tmp_path, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith(f"{cluster.address} did not take the job: Authentication failed")
    assert "Traceback" not in wrong.stderr
    taken = cluster.submit(tmp_path, "--set", "id=tiny-1")
    assert taken.returncode == 0, taken.stderr
    assert "Submitted as tiny-1." in taken.stdout
    end = time.monotonic() + 240
    while (job := cluster.get("/api/jobs/tiny-1"))["status"] not in ("SUCCEEDED", "FAILED", "STOPPED"):
        assert time.monotonic() < end, cluster.get("/api/jobs/tiny-1/logs")
        time.sleep(1)
    assert job["status"] == "SUCCEEDED", cluster.get("/api/jobs/tiny-1/logs")
    assert (tmp_path / "the runs" / "tiny" / "front.csv").exists()
    assert (tmp_path / "the runs" / "tiny.yaml").read_text() == STUDY
