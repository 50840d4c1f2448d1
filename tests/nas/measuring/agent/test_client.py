"""The client against a server whose answers are made up: what it believes, what it tries again, what it gives up."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from agents import TOKEN, MadeUp, server

import nas.measuring.agent.client
from nas.errors import InputError, PlaceLost
from nas.measuring.agent.client import CERTIFICATE, Agent, pauses
from nas.measuring.agent.exchange import target_text
from nas.measuring.agent.tokens import VARIABLE
from nas.measuring.latency import PROTOCOL
from nas.records import Fingerprint, Latency
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target

TARGET = Target(name="pi", threads=2)
AWAY = TARGET.model_copy(update={"agent": "http://x:1"})
CONTENT = b"a network"
FINGERPRINT = Fingerprint(
    device="Cortex-A76", instruction_sets=("asimd",), runtime="onnxruntime 1.30", provider="x", threads=2, batch=1
)
LATENCY = Latency(
    latency_ms=2.5,
    stable=True,
    protocol=PROTOCOL,
    control_ms=0.5,
    fingerprint=FINGERPRINT,
    passes_us=((2500.0, 2600.0),),
)
ABOUT = {"sha256": sha256(CONTENT).hexdigest(), "target": json.loads(target_text(TARGET))}
GOOD = {**ABOUT, "latency": LATENCY.model_dump(mode="json")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "model.onnx"
    found.write_bytes(CONTENT)
    return found


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not waited for; time stands still but for them."""
    found: list[float] = []
    monkeypatch.setattr("nas.measuring.agent.client.time.sleep", found.append)
    monkeypatch.setattr("nas.measuring.agent.client.time.monotonic", lambda: sum(found))
    return found


def agent_of(port: int, **options: Any) -> Agent:
    return Agent(f"http://127.0.0.1:{port}", TOKEN, **options)


@contextmanager
def answering(*answers: Mapping[str, Any]) -> Iterator[Agent]:
    with server(MadeUp(*answers)) as found:
        yield agent_of(found.server_address[1])


@contextmanager
def raw(*answers: bytes) -> Iterator[Agent]:
    """A server that gives these bytes, one after the other, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield agent_of(listening.getsockname()[1])
        thread.join()


def chunked(text: str, *, end: bytes = b"0\r\n\r\n") -> bytes:
    body = f"{len(text):x}\r\n{text}\r\n".encode()
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


def plain(status: str, words: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(words)}\r\n\r\n{words}".encode()


def test_what_the_agent_measured_is_taken_as_it_is(file: Path, waited: list[float]) -> None:
    with answering(GOOD) as agent:
        assert agent.measure(file, TARGET) == LATENCY
    about = {"sha256": sha256(b"").hexdigest(), "target": ABOUT["target"]}
    with answering({**about, "fingerprint": FINGERPRINT.model_dump(mode="json"), "protocol": PROTOCOL}) as agent:
        assert agent.fingerprint(TARGET) == FINGERPRINT
    assert not waited


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(chunked(json.dumps({**GOOD, "sha256": "0" * 64})), id="another file"),
        pytest.param(chunked(json.dumps({**GOOD, "target": {}})), id="another target"),
        pytest.param(chunked(json.dumps({"latency": GOOD["latency"]})), id="nothing said of the file"),
        pytest.param(chunked(json.dumps({**ABOUT, "unable": "the agent ends"})), id="it ends"),
        pytest.param(chunked(json.dumps(GOOD), end=b""), id="no end"),
        pytest.param(chunked(json.dumps(GOOD))[:-60], id="a torn answer"),
        pytest.param(chunked(json.dumps(GOOD)[:-2]), id="torn JSON"),
        pytest.param(chunked("[" * 100_000), id="deep JSON"),
        pytest.param(chunked("[]"), id="no object"),
        pytest.param(chunked(""), id="empty"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff" * 100, id="no HTTP"),
        pytest.param(plain("503 Busy", "too many"), id="busy"),
        pytest.param(plain("422 No", "another file"), id="changed on the way"),
    ],
)
def test_what_may_be_better_next_time_is_tried_again(file: Path, waited: list[float], bad: bytes) -> None:
    with raw(bad, bad, chunked("   " + json.dumps(GOOD))) as agent:
        assert agent.measure(file, TARGET) == LATENCY
    assert waited == [0.5, 1.0]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(plain("401 No"), "does not know the token", id="token"),
        pytest.param(plain("404 No", "what?"), "answers as no agent does: 404 what\\?", id="another server"),
        pytest.param(plain("302 Moved"), "answers as no agent does: 302", id="a redirection is not followed"),
        pytest.param(
            chunked(json.dumps({**ABOUT, "wrong": "no such\n\x1b[31m provider"})), "no such  \\[31m", id="wrong"
        ),
        pytest.param(
            chunked(json.dumps({**ABOUT, "latency": {**GOOD["latency"], "latency_ms": -1}})), "form", id="< 0"
        ),
        pytest.param(chunked(json.dumps(ABOUT)), "another form", id="no latency"),
        pytest.param(
            chunked(json.dumps({**ABOUT, "latency": {**GOOD["latency"], "protocol": "v1"}})), "protocol \\(v1", id="v1"
        ),
    ],
)
def test_what_no_further_try_can_change_ends_it(file: Path, waited: list[float], bad: bytes, words: str) -> None:
    with raw(bad) as agent, pytest.raises(PlaceLost, match=words) as error:
        agent.measure(file, TARGET)
    assert not waited
    assert TOKEN not in str(error.value)
    assert agent.url in str(error.value)


def test_only_what_the_file_is_to_blame_for_is_its_fault(file: Path, waited: list[float]) -> None:
    with answering({**ABOUT, "refused": "no kernel for Foo"}) as agent:
        with pytest.raises(RuntimeRefused, match="on pi: no kernel for Foo"):
            agent.measure(file, TARGET)
    with server(MadeUp(), most_bytes=len(CONTENT) - 1) as found:
        with pytest.raises(RuntimeRefused, match=r"too large for .*at most 8 bytes"):
            agent_of(found.server_address[1]).measure(file, TARGET)


def test_a_device_that_cannot_say_what_it_is_is_no_place_to_measure(waited: list[float]) -> None:
    about = {"sha256": sha256(b"").hexdigest(), "target": ABOUT["target"]}
    with answering({**about, "refused": "the measuring process ended with code 1"}) as agent:
        with pytest.raises(PlaceLost, match="cannot say what it measures with: on pi: the measuring process ended"):
            agent.fingerprint(TARGET)


def test_another_device_at_the_same_address_is_told_from_the_first(file: Path, waited: list[float]) -> None:
    """Of latencies of two devices neither says anything of the other; another target is another matter."""
    there = FINGERPRINT.model_copy(update={"device": "Cortex-A53"})
    other = {**GOOD, "latency": LATENCY.model_copy(update={"fingerprint": there}).model_dump(mode="json")}
    alone = TARGET.model_copy(update={"threads": 1})
    with answering(GOOD, {**other, "target": json.loads(target_text(alone))}, GOOD, other) as agent:
        agent.measure(file, TARGET)
        agent.measure(file, alone)
        agent.measure(file, TARGET)
        with pytest.raises(PlaceLost, match=r"pi on another device now: device: Cortex-A76 -> Cortex-A53$"):
            agent.measure(file, TARGET)


def test_an_agent_that_is_gone_is_asked_ever_more_slowly_for_so_long(file: Path, waited: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(PlaceLost, match=f"the agent at http://127.0.0.1:{port} does not answer: .*refused"):
        agent_of(port, patience_seconds=100).measure(file, TARGET)
    assert waited == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert sum(waited) <= 100 < sum(waited) + 30


def test_silence_is_not_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.measuring.agent.client, "SILENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        agent = agent_of(listening.getsockname()[1], patience_seconds=0)
        with pytest.raises(PlaceLost, match="timed out"):
            agent.measure(file, TARGET)


@pytest.mark.parametrize("limit", ["MOST_ANSWER_BYTES", "LONGEST_SECONDS"])
def test_an_answer_without_end_is_given_up(file: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(nas.measuring.agent.client, limit, 10 if limit == "MOST_ANSWER_BYTES" else -1)
    with raw(chunked("1" * 1000)) as agent, pytest.raises(PlaceLost, match="answers without end"):
        Agent(agent.url, TOKEN, patience_seconds=0).measure(file, TARGET)


def test_the_file_is_read_once(file: Path) -> None:
    """What is sent, what is hashed and what the answer is compared with are the same bytes."""
    bench = MadeUp(GOOD)
    with server(bench) as found:
        bench.go_on.clear()
        results: list[Latency] = []
        asking = threading.Thread(
            target=lambda: results.append(agent_of(found.server_address[1]).measure(file, TARGET))
        )
        asking.start()
        while not bench.asked:
            pass
        file.write_bytes(b"another network")
        bench.go_on.set()
        asking.join()
    assert results == [LATENCY]
    assert bench.asked == [("/measure", CONTENT)]


def test_the_device_is_told_what_it_needs_and_not_where_it_is() -> None:
    assert json.loads(target_text(TARGET)) == {
        "name": "pi", "runtime": "onnxruntime", "provider": "CPUExecutionProvider", "threads": 2, "batch": 1
    }  # fmt: skip
    assert target_text(TARGET.model_copy(update={"provider": "é"})).isascii()


@pytest.mark.parametrize("show", [repr, str, lambda agent: repr([agent])])
def test_no_text_of_a_client_holds_the_token(show: Callable[[Agent], str]) -> None:
    assert TOKEN not in show(agent_of(1))
    assert pickle.loads(pickle.dumps(agent_of(1))) == agent_of(1)  # it travels to the process that measures


def test_what_the_environment_must_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"target 'pi': set {VARIABLE}_PI or {VARIABLE}"):
        nas.measuring.agent.client.agent_of(AWAY, {})
    (tmp_path / "no.pem").write_text("none")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(InputError, match=f"{CERTIFICATE}: .*{name}: expected a file of PEM certificates"):
            nas.measuring.agent.client.agent_of(AWAY, {VARIABLE: TOKEN, CERTIFICATE: str(tmp_path / name)})


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause for pause, _ in zip(pauses(), range(9), strict=False)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
