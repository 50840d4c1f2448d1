"""One HTTP request to the agent: who may ask, what is taken in, what is answered.

There are two routes and no other names; nothing that a client sends becomes a path. The token is looked at before
anything else is read.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import IO, Any, Protocol

from nas.measuring.agent.desk import Desk, Job
from nas.measuring.agent.exchange import (
    FINGERPRINT,
    HEARTBEAT_SECONDS,
    MEASURE,
    SHA256_HEADER,
    TARGET_HEADER,
    Outcome,
)
from nas.measuring.agent.socket_reading import ReadsUntil
from nas.measuring.agent.tokens import same

HEAD_SECONDS, LINGER_SECONDS = 10.0, 1.0
SLOWEST_BYTES_PER_SECOND = 50_000  # of a file that is sent
CHUNK = 2**16
DEFAULT_TARGET = json.dumps({"name": "agent"})


class Door(Protocol):
    """What a request needs to know of its server."""

    token: str
    most_bytes: int
    desk: Desk

    def note(self, client: str, words: str) -> None: ...


class TornBody(Exception):
    """The connection ended within a file."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "compact-nas-agent", ""
    error_content_type, error_message_format = "text/plain", "%(code)d %(message)s\n"
    door: Door  # set by a subclass

    def setup(self) -> None:
        self.request.settimeout(HEAD_SECONDS)
        if hasattr(self.request, "do_handshake"):  # TLS; here, so that a slow one holds this thread alone
            self.request.do_handshake()
        super().setup()
        self.rfile.close()
        self.incoming = ReadsUntil(self.connection, time.monotonic() + HEAD_SECONDS)
        self.rfile = io.BufferedReader(self.incoming)

    def do_GET(self) -> None:
        self._serve({FINGERPRINT: self._fingerprint})

    def do_POST(self) -> None:
        self._serve({MEASURE: self._measure})

    def handle_expect_100(self) -> bool:
        return True  # said when the file is wanted, not before the token was looked at

    def log_message(self, *_: Any) -> None:
        """Nothing: what a client sends is not printed as it came."""

    def _serve(self, routes: Mapping[str, Callable[[], None]]) -> None:
        self.close_connection = True
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not same(token.strip(), self.door.token):
            return self._turn_away(HTTPStatus.UNAUTHORIZED, "expected the agent's token")
        if self.request_version != "HTTP/1.1":
            return self._turn_away(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "expected HTTP/1.1")
        if self.path not in routes:
            return self._turn_away(HTTPStatus.NOT_FOUND, f"expected GET {FINGERPRINT} or POST {MEASURE}")
        if not self.door.desk.places.acquire(blocking=False):
            return self._turn_away(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait")
        try:
            return routes[self.path]()
        finally:
            self.door.desk.places.release()

    def _fingerprint(self) -> None:
        self._answer(self.door.desk.submit(self._question(FINGERPRINT)), sha256().hexdigest(), "fingerprint")

    def _measure(self) -> None:
        expected = self.headers.get(SHA256_HEADER, "").lower()
        if (length := self._length()) is None:
            return None
        with tempfile.TemporaryFile(prefix="nas-agent-") as file:  # without a name: nothing stays after a crash
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(HTTPStatus.CONTINUE)
                self.end_headers()
            try:
                digest = self._receive(file, length)
            except TornBody:
                return self._turn_away(HTTPStatus.BAD_REQUEST, "the file ended before its end")
            if digest != expected:
                return self._turn_away(HTTPStatus.UNPROCESSABLE_ENTITY, "the file is not the one of its sha256")
            return self._answer(self.door.desk.submit(self._question(MEASURE), file), digest, f"measure {digest[:12]}")

    def _length(self) -> int | None:
        """Bytes of the file; where they cannot be told or are too many, the client has been turned away."""
        text = self.headers.get("Content-Length", "")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdecimal()):
            self._turn_away(HTTPStatus.LENGTH_REQUIRED, "expected one Content-Length")
            return None
        if len(text) > 15 or int(text) > self.door.most_bytes:
            self._turn_away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {self.door.most_bytes} bytes")
            return None
        return int(text)

    def _receive(self, file: IO[bytes], length: int) -> str:
        """Write the body to `file`; returns its sha256."""
        self.incoming.until = time.monotonic() + HEAD_SECONDS + length / SLOWEST_BYTES_PER_SECOND
        digest, left = sha256(), length
        while left:
            if not (part := self.rfile.read(min(left, CHUNK))):
                raise TornBody
            digest.update(part)
            file.write(part)
            left -= len(part)
        file.flush()
        return digest.hexdigest()

    def _question(self, what: str) -> dict[str, Any]:
        return {"what": what, "target": self.headers.get(TARGET_HEADER, DEFAULT_TARGET)}

    def _answer(self, job: Job, digest: str, what: str) -> None:
        """Stream blanks while the job waits, then its answer: valid JSON with blanks in front.

        The measuring process says itself what file it read; `digest` stands in the answer where it could not.
        """
        self.connection.settimeout(HEAD_SECONDS)
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            while not job.done.wait(HEARTBEAT_SECONDS):
                self._chunk(b" ")
            self._chunk(json.dumps({"sha256": digest, **job.answer}).encode())
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            job.dropped = True
            job.done.wait()  # its file must not go while it is read
            return self.door.note(self.client_address[0], f"{what}: the client has gone")
        outcome = next((f"{key}: {job.answer[key]}" for key in Outcome if key in job.answer), "answered")
        return self.door.note(self.client_address[0], f"{what}: {outcome}")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _turn_away(self, code: HTTPStatus, words: str) -> None:
        """An error; what the client still sends is read for a moment, for else the kernel would drop the answer."""
        self.door.note(self.client_address[0], f"turned away: {code.value} {words}")
        content = (words + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        self.incoming.until = time.monotonic() + LINGER_SECONDS
        with suppress(OSError):
            while self.rfile.read1(CHUNK):
                pass
