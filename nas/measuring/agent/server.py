"""The agent's server: a thread for each connection, so many at most, and a log."""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from contextlib import suppress
from socket import AF_INET, AF_INET6
from typing import Any

from nas.measuring.agent.desk import Desk
from nas.measuring.agent.handler import Handler

MOST_CONNECTIONS = 32


class AgentServer(socketserver.ThreadingTCPServer):
    """`most_bytes` is a file's limit. Connections above MOST_CONNECTIONS are closed at once."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], *, token: str, most_bytes: int, desk: Desk) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.token, self.most_bytes, self.desk = token, most_bytes, desk
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, type("AgentHandler", (Handler,), {"door": self}))

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._connections.acquire(blocking=False):
            return self.shutdown_request(request)
        try:
            return super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line, and no traceback with which a client could fill the log."""
        self.note(str(client_address[0]), f"connection ended: {type(sys.exception()).__name__}")

    def note(self, client: str, words: str) -> None:
        """A line of the log, on stderr; what comes from elsewhere is made printable."""
        printable = "".join(c if c.isprintable() else "?" for c in words)[:500]
        with suppress(OSError):  # nobody reads any more
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {client} {printable}", file=sys.stderr, flush=True)

    def wait_for_connections(self, seconds: float) -> None:
        """Until all have been answered, or the time is over."""
        end = time.monotonic() + seconds
        for _ in range(MOST_CONNECTIONS):
            self._connections.acquire(timeout=max(0.0, end - time.monotonic()))
