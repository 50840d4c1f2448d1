"""The agent of a device is killed in the middle of a measurement, and started again some seconds later."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ledger import signs_of_life
from one_run import SOURCES, Run, moments, quick, strike_until_enough
from outcome import Ground, Outcome
from process_table import descendants, is_running, kill, wait_for

TOKEN = secrets.token_urlsafe(24)
VARIABLE = "COMPACT_NAS_AGENT_TOKEN"
AWAY_SECONDS = 4.0
SHORTEST_SECONDS, LONGEST_SECONDS = 4.0, 10.0


def agent_kill(ground: Ground) -> Outcome:
    """Trials wait for it; each is measured in the end, and none is blamed."""
    outcome, port = Outcome(), free_port()
    ground.scratch.mkdir(parents=True, exist_ok=True)
    agent = start(port, ground.scratch)

    def strike(run: Run) -> bool:
        nonlocal agent
        if not signs_of_life(run.folder):  # a run that finds no agent when it begins ends at once, with a sentence
            return False
        if not wait_for(lambda: is_measuring(agent.pid), 30.0):
            return False
        kill(agent)
        time.sleep(AWAY_SECONDS)
        agent = start(port, ground.scratch)
        return True

    def make(number: int) -> Run:
        return Run(ground.scratch / str(number), study(port, seed=ground.seed + number), {VARIABLE: TOKEN})

    try:
        strike_until_enough(ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS))
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()
    outcome.expect(not descendants(), "the agent left a process")
    return outcome


def study(port: int, **search: Any) -> dict[str, Any]:
    target = {"name": "cam", "runtime": "onnxruntime", "agent": f"http://127.0.0.1:{port}"}
    return {**quick(**search), "targets": [target]}


def start(port: int, scratch: Path) -> subprocess.Popen[bytes]:
    """An agent that listens."""
    path = os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, VARIABLE: TOKEN, "PYTHONPATH": path}
    command = [sys.executable, "-P", "-m", "nas.cli", "agent", "--port", str(port)]
    with (scratch / "agent.txt").open("ab") as printed:
        agent = subprocess.Popen(command, stdout=printed, stderr=printed, env=environment)
    if not wait_for(lambda: listens(port) or agent.poll() is not None, 60.0) or agent.poll() is not None:
        raise RuntimeError(f"the agent does not start: {(scratch / 'agent.txt').read_text()}")
    return agent


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def is_measuring(agent: int) -> bool:
    """Whether the process that the agent measures in is at work just now."""
    return any(is_running(pid) for pid in descendants(agent))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
