"""The agent as a program: it listens, says where, and ends in order at SIGTERM or Ctrl-C."""

from __future__ import annotations

import math
import os
import signal
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import InputError
from nas.measuring.agent.bench import CHILD, Bench
from nas.measuring.agent.desk import Desk
from nas.measuring.agent.exchange import DEFAULT_PORT
from nas.measuring.agent.server import AgentServer
from nas.measuring.agent.tokens import VARIABLE, agent_token
from nas.study.addresses import is_loopback

MEGABYTE = 10**6
ANSWER_SECONDS = 2.0  # for what was measured last to reach its client
IN_CLEAR = (
    "warning: without --certificate the token and the files cross the network in clear text; anyone on the way can use "
    "the agent"
)


@dataclass(frozen=True)
class Options:
    """How an agent is started. `seconds` and `gigabytes` bound one measurement, `megabytes` a file."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    seconds: float = 120.0
    megabytes: float = 64.0
    gigabytes: float = 2.0

    def __post_init__(self) -> None:
        """Raises InputError for a bound with which nothing could be measured."""
        for name, may_be_0 in (("seconds", False), ("megabytes", False), ("gigabytes", True)):
            value: float = getattr(self, name)
            if not 0 <= value < math.inf or not (value or may_be_0):
                least = "of 0 or more" if may_be_0 else "above 0"
                raise InputError(f"--{name}: expected a number {least}, got {value:g}")


def serve(options: Options, environment: Mapping[str, str] = os.environ) -> None:
    """Listen until SIGTERM or SIGINT. Raises InputError where that cannot be begun."""
    context = tls(options)
    token, is_new = agent_token(options.token_file, environment)
    desk = Desk(Bench(options.seconds, options.gigabytes, CHILD))
    with _listening(options, token, desk) as server:
        told = _told_to_end()
        if context is not None:  # the handshake is made in the connection's own thread
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        for line in greeting(options, server.server_address[1], token if is_new else None):
            print(line, flush=True)
        with desk:
            threading.Thread(target=server.serve_forever, args=(0.2,), name="listening", daemon=True).start()
            told.wait()
            server.note("agent", "ends")
            desk.leave()
            server.shutdown()
        server.wait_for_connections(ANSWER_SECONDS)


def tls(options: Options) -> ssl.SSLContext | None:
    """What --certificate and --key ask for. Raises InputError."""
    if options.certificate is None:
        if options.key is not None:
            raise InputError("--key: expected --certificate too")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key, password=_no_password)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        key = f", --key {options.key}" if options.key else ""
        raise InputError(f"--certificate {options.certificate}{key}: cannot be used: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; an agent starts without anybody to type its password")


def greeting(options: Options, port: int, new_token: str | None) -> list[str]:
    """The lines at the start; a token that was just made is in them, as nobody knows it yet."""
    scheme = "http" if options.certificate is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    lines = [f"nas agent: {scheme}://{host}:{port}"]
    if options.certificate is None and not is_loopback(options.host):
        lines.append(IN_CLEAR)
    if new_token is not None and options.token_file is not None:
        lines.append(f"a token was made; it stands in {options.token_file}")
    elif new_token is not None:
        lines.append(f"a token was made, for this start alone and shown once: {VARIABLE}={new_token}")
    return lines


def _listening(options: Options, token: str, desk: Desk) -> AgentServer:
    most_bytes = int(options.megabytes * MEGABYTE)
    try:
        return AgentServer((options.host, options.port), token=token, most_bytes=most_bytes, desk=desk)
    except (OSError, OverflowError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"--host {options.host} --port {options.port}: cannot listen there: {words}") from None


def _told_to_end() -> threading.Event:
    """Set at SIGTERM or SIGINT; a second one ends the process, and the kernel the one that measures."""
    told = threading.Event()

    def tell(number: int, _: object) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    return told
