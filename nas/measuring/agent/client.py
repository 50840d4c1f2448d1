"""A place that measures on a device, through the agent there.

What keeps the agent from answering is tried again, ever more slowly; a result counts only if it says that it is about
the very file and target that were sent. Nothing here says what the token is.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from nas.errors import InputError, PlaceLost
from nas.measuring.agent.exchange import (
    FINGERPRINT,
    MEASURE,
    MOST_ANSWER_BYTES,
    SHA256_HEADER,
    SILENCE_SECONDS,
    TARGET_HEADER,
    Outcome,
    target_text,
)
from nas.measuring.agent.tokens import client_token
from nas.measuring.latency import PROTOCOL
from nas.records import Fingerprint, Latency
from nas.runtimes.runtime import RuntimeRefused, runtime_of
from nas.study.targets import Target

CERTIFICATE = "COMPACT_NAS_AGENT_CERTIFICATE"  # a file of certificates that are trusted besides the system's
CONNECT_SECONDS, LONGEST_SECONDS = 10.0, 3600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# Of a study, whose work ends when they are over; and of somebody who looks at the screen.
PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS = 3600.0, 5.0
SILENT_TRIES = 3  # before users are told that an agent is waited for
_log = logging.getLogger(__name__)
Answer = dict[str, Any]
Answered = TypeVar("Answered", Latency, Fingerprint)


class _Again(Exception):
    """This try failed in a way that another may not; the message says how."""


@dataclass(frozen=True)
class Agent:
    """The agent at `url`, which is asked for `patience_seconds` before it counts as gone."""

    url: str
    token: str = field(repr=False)
    certificate: Path | None = None
    patience_seconds: float = PATIENCE_SECONDS
    # What it said of itself at first, by target: latencies of two devices do not belong into one run.
    _devices: dict[str, Fingerprint] = field(default_factory=dict, init=False, repr=False, compare=False)

    def measure(self, file: Path, target: Target) -> Latency:
        """Latency of a file on the device. Raises RuntimeRefused where the file is to blame, else PlaceLost."""
        return self._latency(file.read_bytes(), target)

    def _latency(self, content: bytes, target: Target) -> Latency:
        answer = self._ask(MEASURE, target, content)
        latency = self._record(Latency, answer.get("latency"))
        self._refuse_protocol(latency.protocol)
        self._refuse_another_device(latency.fingerprint, target)
        return latency

    def fingerprint(self, target: Target) -> Fingerprint:
        """What latencies on the device depend on. Raises PlaceLost."""
        try:
            answer = self._ask(FINGERPRINT, target, b"")
        except RuntimeRefused as error:  # no file is to blame, for none was sent
            raise self._lost(f"cannot say what it measures with: {error}") from None
        self._refuse_protocol(answer.get("protocol"))
        found = self._record(Fingerprint, answer.get("fingerprint"))
        self._refuse_another_device(found, target)
        return found

    def is_quiet(self, target: Target) -> bool:
        """Whether the device's control network takes the same time in two passes: what noise does to it shows there.

        Raises PlaceLost, RuntimeRefused.
        """
        control, alone = runtime_of(target).control(), target.model_copy(update={"batch": 1})
        return self._latency(control, alone).stable

    def _record(self, kind: type[Answered], told: object) -> Answered:
        try:
            return kind.model_validate_json(json.dumps(told))
        except ValidationError:
            raise self._lost("answers in another form; install the version of compact-nas there") from None

    def _refuse_protocol(self, protocol: object) -> None:
        if protocol != PROTOCOL:
            raise self._lost(f"measures by another protocol ({protocol}); install the version of compact-nas there")

    def _refuse_another_device(self, found: Fingerprint, target: Target) -> None:
        if changes := self._devices.setdefault(target_text(target), found).changes_to(found):
            raise self._lost(f"measures {target.name} on another device now: {', '.join(changes)}")

    def _ask(self, path: str, target: Target, content: bytes) -> Answer:
        end, said = time.monotonic() + self.patience_seconds, ""
        for tries, pause in enumerate(pauses(), 1):
            try:
                return self._once(path, target, content)
            except _Again as error:
                said = str(error)
            except ssl.SSLCertVerificationError as error:
                raise self._lost(
                    f"its certificate is not trusted ({error.verify_message}); see {CERTIFICATE}"
                ) from None
            except (OSError, HTTPException) as error:
                said = str(error) or type(error).__name__
            if time.monotonic() + pause > end:
                break
            if tries == SILENT_TRIES:
                _log.warning("waiting for the agent at %s, which measures %s: %s", self.url, target.name, said)
            time.sleep(pause)
        raise self._lost(f"does not answer: {said}")

    def _lost(self, words: str) -> PlaceLost:
        return PlaceLost(f"the agent at {self.url} {words}")

    def _once(self, path: str, target: Target, content: bytes) -> Answer:
        """One request. Raises _Again, OSError or HTTPException where another try may go better."""
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(SILENCE_SECONDS)
            digest = sha256(content).hexdigest()
            with suppress(BrokenPipeError, ConnectionResetError):  # turned away before all is sent: the answer says why
                self._send(connection, path, target, content, digest)
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise self._turned_away(response)
            return self._checked(_read(response), target, digest)
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "http":
            return HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
        context = ssl.create_default_context()
        if self.certificate is not None:
            context.load_verify_locations(self.certificate)
        return HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_SECONDS, context=context)

    def _send(self, connection: HTTPConnection, path: str, target: Target, content: bytes, digest: str) -> None:
        headers = {"Authorization": f"Bearer {self.token}", TARGET_HEADER: target_text(target), SHA256_HEADER: digest}
        if path == MEASURE:
            connection.request("POST", path, content, headers)
        else:
            connection.request("GET", path, headers=headers)

    def _turned_away(self, response: HTTPResponse) -> Exception:
        """What an answer other than 200 leads to."""
        words = _printable(response.read(500).decode(errors="replace"))
        match response.status:
            case HTTPStatus.UNAUTHORIZED:
                return self._lost("does not know the token")
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return RuntimeRefused(f"too large for the agent at {self.url}: {words}")
            case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.BAD_REQUEST:
                return _Again(words)
        return self._lost(f"answers as no agent does: {response.status} {words}")

    def _checked(self, answer: Answer, target: Target, digest: str) -> Answer:
        """The answer, if it is about this file and target. Raises what it tells otherwise."""
        if answer.get("sha256") != digest or answer.get("target", sent := json.loads(target_text(target))) != sent:
            raise _Again("answered for another file or target")
        for outcome in Outcome:
            if outcome in answer:
                raise self._outcome(outcome, _printable(str(answer[outcome])), target)
        return answer

    def _outcome(self, outcome: Outcome, words: str, target: Target) -> Exception:
        if outcome is Outcome.REFUSED:
            return RuntimeRefused(f"on {target.name}: {words}")
        return _Again(words) if outcome is Outcome.UNABLE else self._lost(f"cannot measure {target.name}: {words}")


def pauses() -> Iterator[float]:
    """Seconds before the next try: twice as long every time, up to LONGEST_PAUSE."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def _read(response: HTTPResponse) -> Answer:
    """An answer's JSON. Blanks come before it, while the request waits; it may be so large, and take so long."""
    end, content = time.monotonic() + LONGEST_SECONDS, b""
    while part := response.read1(2**16):
        content = (content + part).lstrip(b" ")
        if len(content) > MOST_ANSWER_BYTES or time.monotonic() > end:
            raise _Again("answers without end")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise _Again("answered with something else than JSON") from None
    if not isinstance(found, dict):
        raise _Again("answered with something else than a JSON object")
    return found


def _printable(words: str) -> str:
    """What another machine says, fit for a terminal: one line of so many characters."""
    return "".join(c if c.isprintable() else " " for c in words)[:300].strip()


def agent_of(target: Target, environment: Mapping[str, str]) -> Agent:
    """The agent that a target names, with its token and the certificate of the environment. Raises InputError."""
    assert target.agent is not None, "a target without an agent"
    try:
        token = client_token(target.name, environment)
    except InputError as error:
        raise InputError(f"target {target.name!r}: {error}") from None
    return Agent(target.agent, token, _certificate(environment))


def _certificate(environment: Mapping[str, str]) -> Path | None:
    if not (name := environment.get(CERTIFICATE)):
        return None
    try:
        ssl.create_default_context().load_verify_locations(name)
    except OSError as error:
        raise InputError(f"{CERTIFICATE}: {name}: expected a file of PEM certificates: {error}") from None
    return Path(name)
