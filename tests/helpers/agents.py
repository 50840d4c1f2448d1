"""Agents for tests: a real process, a server in this process whose measuring is made up, and connections by hand."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from nas.measuring.agent.desk import Desk
from nas.measuring.agent.server import AgentServer

TOKEN = "a-token-of-these-tests-0123456789"
PATIENCE = 20.0  # seconds until a test gives up; none takes that long


# The program, with a short protocol, and with locks of its own: it waits for nobody else on this machine.
CHILD = """
import nas.measuring.latency, nas.measuring.turns
nas.measuring.latency.BLOCKS = nas.measuring.latency.MAX_PASSES = 2
nas.measuring.turns.PLACES = ()
from nas.measuring.agent.child import main
main()
"""
QUICK = f"""
import sys
import nas.measuring.agent.serving
from nas.measuring.agent.__main__ import main
nas.measuring.agent.serving.CHILD = (sys.executable, "-P", "-c", {CHILD!r})
main()
"""


@dataclass
class AgentProcess:
    """An agent's process with what it printed at its start."""

    process: subprocess.Popen[str]
    url: str
    greeting: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        found = [f"/proc/{pid}/task/{task}/children" for task in os.listdir(f"/proc/{pid}/task")]
        return [int(child) for file in found for child in open(file).read().split()]


@contextmanager
def agent_process(*options: str, **environment: str) -> Iterator[AgentProcess]:
    """Start an agent at a free port; it is killed at the end, where it has not ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", QUICK, "--port", "0", *options],
        env={**os.environ, "COMPACT_NAS_AGENT_TOKEN": TOKEN, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        found = re.search(r"https?://\S+", greeting)
        assert found, greeting + process.communicate()[1]
        yield AgentProcess(process, found[0], greeting)
    finally:
        process.kill()
        process.communicate()


class MadeUp:
    """Answers instead of a measuring process: by `answers`, in order, then an empty answer; notes what it was asked."""

    def __init__(self, *answers: Mapping[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = False

    def ask(self, question: Mapping[str, Any], file: IO[bytes] | None) -> dict[str, Any]:
        content = b""
        if file is not None:
            file.seek(0)
            content = file.read()
        self.asked.append((question["what"], content))
        self.go_on.wait(PATIENCE)
        return dict(self.answers.pop(0)) if self.answers else {}

    def close(self) -> None:
        self.closed = True
        self.go_on.set()


@contextmanager
def server(bench: MadeUp, *, most_bytes: int = 10_000) -> Iterator[AgentServer]:
    """An agent's server in this process."""
    desk = Desk(bench)
    with desk, AgentServer(("127.0.0.1", 0), token=TOKEN, most_bytes=most_bytes, desk=desk) as found:
        threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield found
        finally:
            bench.go_on.set()
            found.shutdown()
            found.wait_for_connections(PATIENCE)


def head(request: str, **headers: str) -> bytes:
    """The beginning of an HTTP request."""
    lines = [
        f"{request} HTTP/1.1",
        "Host: agent",
        *(f"{key.replace('_', '-')}: {text}" for key, text in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def bearer(token: str = TOKEN) -> str:
    return f"Bearer {token}"


def said(port: int, request: bytes) -> bytes:
    """All that comes back for these bytes, until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
