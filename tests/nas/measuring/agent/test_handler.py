"""The agent's door, knocked at by hand: who is turned away, when, and that nothing reaches the measuring process."""

from __future__ import annotations

import json
import pickle
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256

import pytest
from agents import PATIENCE, TOKEN, MadeUp, all_of, bearer, head, said, server

import nas.measuring.agent.handler
import nas.measuring.agent.server
from nas.measuring.agent import handler
from nas.measuring.agent.desk import PLACES
from nas.measuring.agent.server import AgentServer

FILE = b"a file of some bytes"
DIGEST = sha256(FILE).hexdigest()


@pytest.fixture
def bench() -> MadeUp:
    return MadeUp()


@pytest.fixture
def agent(bench: MadeUp, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentServer]:
    monkeypatch.setattr(nas.measuring.agent.handler, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(nas.measuring.agent.handler, "HEARTBEAT_SECONDS", 0.02)
    with server(bench) as found:
        yield found


def port_of(agent: AgentServer) -> int:
    return int(agent.server_address[1])


def sending(content: bytes = FILE, *, token: str = TOKEN, digest: str | None = None, **headers: str) -> bytes:
    told = {"Content_Length": str(len(content)), **headers}
    digest = sha256(content).hexdigest() if digest is None else digest
    return head("POST /measure", Authorization=bearer(token), X_Compact_Nas_Sha256=digest, **told) + content


def answer_in(text: bytes) -> dict[str, object]:
    """The JSON of a chunked answer that is whole."""
    before, _, body = text.partition(b"\r\n\r\n")
    assert before.startswith(b"HTTP/1.1 200 ")
    content, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        content, rest = content + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if size == b"0":
            assert not rest
    found: dict[str, object] = json.loads(content)
    return found


def test_a_file_is_measured_as_it_was_sent(agent: AgentServer, bench: MadeUp) -> None:
    bench.answers.append({"latency": 7})
    assert answer_in(said(port_of(agent), sending())) == {"sha256": DIGEST, "latency": 7}
    assert bench.asked == [("/measure", FILE)]


def test_a_client_that_asks_first_is_told_to_go_on_once_its_token_was_seen(agent: AgentServer, bench: MadeUp) -> None:
    before, _, content = sending(Expect="100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) as connection:
        connection.sendall(before + b"\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(content)
        assert answer_in(all_of(connection))["sha256"] == DIGEST
    wrong = sending(token="x" * 20, Expect="100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert said(port_of(agent), wrong).startswith(b"HTTP/1.1 401 ")


def test_what_the_measuring_process_read_counts_and_not_what_was_sent(agent: AgentServer, bench: MadeUp) -> None:
    bench.answers.append({"sha256": "of another file"})
    assert answer_in(said(port_of(agent), sending()))["sha256"] == "of another file"


@pytest.mark.parametrize("request_", ["POST /measure", "GET /fingerprint", "GET /nothing", "GET /"])
@pytest.mark.parametrize(
    "authorization", ["", bearer(TOKEN[:-1]), bearer(TOKEN + "x"), bearer("é"), f"Basic {TOKEN}", "Bearer", TOKEN]
)
def test_without_the_token_nothing_is_told(
    agent: AgentServer, bench: MadeUp, request_: str, authorization: str
) -> None:
    """Nor is the file waited for: of the body that is announced, nothing was sent."""
    answer = said(port_of(agent), head(request_, Authorization=authorization, Content_Length="100"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert not bench.asked


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(head("GET /../../etc/passwd", Authorization=bearer()), 404, id="a path"),
        pytest.param(head("GET /fingerprint/../measure", Authorization=bearer()), 404, id="a path within"),
        pytest.param(head("GET /%66ingerprint", Authorization=bearer()), 404, id="an encoded name"),
        pytest.param(head("GET /fingerprint?x=1", Authorization=bearer()), 404, id="a query"),
        pytest.param(head("GET http://elsewhere/fingerprint", Authorization=bearer()), 404, id="as a proxy"),
        pytest.param(head("GET /measure", Authorization=bearer()), 404, id="GET instead of POST"),
        pytest.param(head("PUT /measure", Authorization=bearer()), 501, id="another method"),
        pytest.param(head("POST /measure", Authorization=bearer()), 411, id="no length"),
        pytest.param(sending(Transfer_Encoding="chunked"), 411, id="two lengths that may disagree"),
        pytest.param(sending(content_length="3"), 411, id="two lengths"),
        pytest.param(sending(Content_Length="-1"), 411, id="a negative length"),
        pytest.param(sending(Content_Length="0x10"), 411, id="no number"),
        pytest.param(sending(Content_Length="²"), 411, id="a digit that is none"),
        pytest.param(sending(Content_Length="10001"), 413, id="one byte too many"),
        pytest.param(sending(Content_Length="9" * 5000), 413, id="a number of many digits"),
        pytest.param(sending(digest="0" * 64), 422, id="another file's sha256"),
        pytest.param(sending(digest=""), 422, id="no sha256"),
        pytest.param(sending().replace(b"HTTP/1.1", b"HTTP/1.0"), 505, id="an old client"),
        pytest.param(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="a long line"),
        pytest.param(head("GET /", **{f"h{n}": "x" for n in range(200)}), 431, id="many headers"),
    ],
)
def test_what_is_turned_away(agent: AgentServer, bench: MadeUp, request_: bytes, code: int) -> None:
    assert said(port_of(agent), request_).startswith(f"HTTP/1.1 {code} ".encode())
    assert not bench.asked
    bench.answers.append({"latency": 1})
    assert answer_in(said(port_of(agent), sending()))["latency"] == 1  # and it still answers others


def test_what_is_no_http_is_turned_away(agent: AgentServer, bench: MadeUp) -> None:
    assert said(port_of(agent), b"\x80\x04\x95\x16\x03\r\n\r\n").startswith(b"400 Bad request syntax")
    assert not bench.asked


def test_a_torn_body_is_not_measured(agent: AgentServer, bench: MadeUp) -> None:
    with socket.create_connection(("127.0.0.1", port_of(agent))) as connection:
        connection.sendall(sending(Content_Length="100"))
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection).startswith(b"HTTP/1.1 400 ")
    assert not bench.asked


@pytest.mark.parametrize("part", [head("POST /measure", Authorization=bearer())[:-4], sending(Content_Length="9000")])
def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(
    agent: AgentServer, bench: MadeUp, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte comes in time; all of them together do not."""
    monkeypatch.setattr(handler, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(handler, "SLOWEST_BYTES_PER_SECOND", 1e9)
    with socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) as connection:
        connection.sendall(part)
        assert sent_until_cut_off(connection) < 599
    assert not bench.asked


def sent_until_cut_off(connection: socket.socket) -> int:
    """How many bytes a connection takes, of 600, one each tenth of a second."""
    sent = 0
    with suppress(OSError):  # a reset or a broken pipe
        for _ in range(600):
            time.sleep(0.1)
            connection.sendall(b"x")
            sent += 1
    return sent


def test_a_pickle_is_bytes_like_any(agent: AgentServer, bench: MadeUp) -> None:
    """It goes to the measuring process, which reads ONNX and nothing else; as a target it is no JSON."""
    content = pickle.dumps(print)
    answer_in(said(port_of(agent), sending(content)))
    assert bench.asked == [("/measure", content)]


def test_a_waiting_client_hears_blanks_until_the_answer(agent: AgentServer, bench: MadeUp) -> None:
    bench.go_on.clear()
    bench.answers.append({"latency": 3})
    with socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) as connection:
        connection.sendall(sending())
        came = b""
        while came.count(b"1\r\n \r\n") < 2:
            came += connection.recv(4096)
        bench.go_on.set()
        came += all_of(connection)
    assert answer_in(came)["latency"] == 3


def test_what_a_client_that_has_gone_had_asked_for_is_not_begun(agent: AgentServer, bench: MadeUp) -> None:
    bench.go_on.clear()
    with socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) as first:
        first.sendall(sending(b"first"))
        while not bench.asked:
            time.sleep(0.01)
        with socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) as second:
            second.sendall(sending(b"second"))
            assert second.recv(10)
        time.sleep(0.2)  # the next blanks find nobody
        bench.go_on.set()
        all_of(first)
    answer_in(said(port_of(agent), sending(b"third")))
    assert [content for _, content in bench.asked] == [b"first", b"third"]


def test_one_at_a_time_and_no_more_wait_than_there_are_places(agent: AgentServer, bench: MadeUp) -> None:
    bench.go_on.clear()
    answers: list[bytes] = []
    clients = [
        threading.Thread(target=lambda n=n: answers.append(said(port_of(agent), sending(bytes([n])))))
        for n in range(PLACES)
    ]
    for client in clients:
        client.start()
    while agent.desk.places.acquire(blocking=False):
        agent.desk.places.release()
        time.sleep(0.01)
    assert said(port_of(agent), sending()).startswith(b"HTTP/1.1 503 ")
    assert len(bench.asked) == 1
    bench.go_on.set()
    for client in clients:
        client.join()
    told = {str(answer_in(answer)["sha256"]) for answer in answers}
    assert told == {sha256(bytes([n])).hexdigest() for n in range(PLACES)}


def test_at_its_end_what_is_measured_is_answered_and_who_waits_is_told(agent: AgentServer, bench: MadeUp) -> None:
    bench.go_on.clear()
    bench.answers.append({"latency": 1})
    connections = [socket.create_connection(("127.0.0.1", port_of(agent)), timeout=PATIENCE) for _ in range(2)]
    for connection in connections:
        connection.sendall(sending())
        assert connection.recv(10)
        while not bench.asked:
            time.sleep(0.01)
    agent.desk.leave()
    bench.go_on.set()
    first, second = map(all_of, connections)
    assert b'"latency": 1' in first
    assert b'"unable": "the agent ends"' in second
    late = said(port_of(agent), sending())
    assert answer_in(late)["unable"] == "the agent ends"
    assert len(bench.asked) == 1


def test_a_failure_within_the_agent_ends_no_more_than_one_request(agent: AgentServer, bench: MadeUp) -> None:
    bench.answers.append(None)  # type: ignore[arg-type]
    assert answer_in(said(port_of(agent), sending()))["unable"] == "internal error: TypeError"
    bench.answers.append({"latency": 1})
    assert answer_in(said(port_of(agent), sending()))["latency"] == 1


def test_more_connections_than_there_may_be_are_closed(agent: AgentServer) -> None:
    most = nas.measuring.agent.server.MOST_CONNECTIONS
    idle = [socket.create_connection(("127.0.0.1", port_of(agent))) for _ in range(most)]
    try:
        assert said(port_of(agent), b"") == b""
    finally:
        for connection in idle:
            connection.close()


def test_nothing_a_client_sends_can_write_into_the_log(
    agent: AgentServer, bench: MadeUp, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.answers.append({"refused": "line\n2026 root \x1b[31m granted"})
    said(port_of(agent), sending())
    said(port_of(agent), head("GET /a\x1b[31m", Authorization=bearer("secret-secret-secret")))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("refused: line?2026 root ?[31m granted")
    assert not [line for line in lines if re.search(rf"\x1b|secret|{TOKEN}", line)]


def test_the_answer_says_nothing_of_python(agent: AgentServer) -> None:
    assert b"Python" not in said(port_of(agent), head("GET /"))
