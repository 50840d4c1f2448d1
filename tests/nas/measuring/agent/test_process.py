"""A real agent process: it measures as this machine does, holds its own under attack, and leaves nothing behind."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from agents import PATIENCE, TOKEN, AgentProcess, agent_process, bearer, head, said
from networks import HEADER, MIXED, quantized
from onnx import TensorProto, helper, numpy_helper

import nas.measuring.agent.client
from nas.errors import PlaceLost
from nas.measuring.agent.__main__ import main
from nas.measuring.agent.client import Agent
from nas.measuring.latency import PROTOCOL
from nas.records import Latency
from nas.runtimes.onnx.control import control_file
from nas.runtimes.onnxruntime import ONNXRUNTIME, fingerprint
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target

TARGET = Target(name="pi", threads=1)


@pytest.fixture(scope="module")
def running() -> Iterator[AgentProcess]:
    with agent_process("--megabytes", "1") as found:
        yield found


@pytest.fixture
def agent(running: AgentProcess) -> Agent:
    return Agent(running.url, TOKEN, patience_seconds=PATIENCE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "model.onnx"
    found.write_bytes(control_file())
    return found


def network(*, values: int = 16, dilation: int = 1, side: int = 16) -> bytes:
    """A convolution of 3 channels; a graph that ONNX allows, with shapes of choice."""
    weight = numpy_helper.from_array(np.ones((values, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["image", "w"], ["out"], pads=[1, 1, 1, 1], dilations=[dilation, dilation])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, side, side])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weight],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
    return content


def is_gone(pid: int) -> bool:
    """Whether a process ended, which its parent may not have seen yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait_until_gone(*pids: int) -> None:
    end = time.monotonic() + PATIENCE
    while not all(map(is_gone, pids)):
        assert time.monotonic() < end, f"{pids} are still there"
        time.sleep(0.02)


def test_a_device_measures_by_the_protocol_of_records(agent: Agent, file: Path) -> None:
    """The agent of this test runs on this machine: what latencies depend on is the same."""
    assert agent.fingerprint(TARGET) == fingerprint(TARGET)
    latency = agent.measure(file, TARGET)
    assert latency.fingerprint == fingerprint(TARGET)
    assert latency.protocol == PROTOCOL
    assert latency.latency_ms == pytest.approx(min(map(min, latency.passes_us)) / 1e3, abs=1e-5)
    assert latency.control_ms > 0
    two = TARGET.model_copy(update={"threads": 2})
    assert agent.measure(file, two).fingerprint.threads == 2
    assert isinstance(agent.is_quiet(TARGET), bool)


def test_the_device_says_what_it_runs_as_integers(agent: Agent, file: Path) -> None:
    file.write_bytes(ONNXRUNTIME.emit(quantized(MIXED), HEADER))
    here = ONNXRUNTIME.integer_layers(file, TARGET)
    assert here
    assert agent.measure(file, TARGET).integer_layers == tuple(sorted(here))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(pickle.dumps(print), "ONNX", id="a pickle"),
        pytest.param(b"", "got none", id="empty"),
        pytest.param(control_file()[:4000], "on pi: ", id="half a file"),
        pytest.param(network(dilation=1000), "on pi: ", id="what ONNX Runtime refuses"),
        pytest.param(b"x" * 1_000_001, "too large", id="too large"),
    ],
)
def test_what_is_no_network_is_refused(agent: Agent, file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(RuntimeRefused, match=words):
        agent.measure(file, TARGET)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runtime": "tensorrt"}, "cannot measure pi: target.runtime: .*onnxruntime"),
        ({"provider": "NoSuchProvider"}, "cannot measure pi: expected one of .*CPUExecutionProvider"),
        ({"batch": 10**9}, "cannot measure pi: target.batch: expected images of"),
    ],
)
def test_a_target_that_the_device_lacks_is_no_fault_of_the_file(
    agent: Agent, file: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(PlaceLost, match=words):
        agent.measure(file, TARGET.model_copy(update=change))


def test_a_token_that_is_wrong_is_told_and_not_repeated(running: AgentProcess, file: Path) -> None:
    wrong = "another-token-of-these-tests"
    with pytest.raises(PlaceLost, match="does not know the token") as error:
        Agent(running.url, wrong).measure(file, TARGET)
    assert wrong not in str(error.value)


def test_memory_without_bound_ends_at_the_limit(file: Path) -> None:
    """A gigabyte for one call's output, and half of one for the process."""
    file.write_bytes(network(values=256, side=1024))
    with agent_process("--gigabytes", "0.5") as running:
        agent = Agent(running.url, TOKEN, patience_seconds=PATIENCE)
        with pytest.raises(RuntimeRefused, match=r"on pi: (out of memory|the measuring process|.*allocat)"):
            agent.measure(file, TARGET)
        file.write_bytes(control_file())
        assert agent.measure(file, TARGET).latency_ms > 0


def test_a_measurement_that_takes_too_long_is_ended(file: Path) -> None:
    with agent_process("--seconds", "0.01") as running:
        with pytest.raises(RuntimeRefused, match=r"on pi: measuring took more than 0\.01 s"):
            Agent(running.url, TOKEN).measure(file, TARGET)
        assert not running.children


def test_it_imports_what_a_board_has(file: Path) -> None:
    """No torch, and nothing else that this project needs elsewhere: in neither of the two processes."""
    heavy = ["torch", "optuna", "pandas", "scipy", "sklearn", "matplotlib", "PIL", "yaml", "rich", "typer", "openvino"]
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import nas.measuring.agent.__main__, nas.measuring.latency, nas.measuring.turns
nas.measuring.latency.BLOCKS = nas.measuring.latency.MAX_PASSES = 2
nas.measuring.turns.PLACES = ()
from nas.measuring.agent import child
answer = child.answer({{"what": "/measure", "target": '{{"name": "a"}}'}}, open({str(file)!r}, "rb").read())
assert answer["latency"]["latency_ms"] > 0, answer
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_it_measures(file: Path, number: int) -> None:
    with agent_process() as running:
        found: list[Latency] = []
        asking = threading.Thread(target=lambda: found.append(Agent(running.url, TOKEN).measure(file, TARGET)))
        asking.start()
        while not running.children:
            time.sleep(0.01)
        (child,) = running.children
        running.process.send_signal(number)
        asking.join()
        assert running.process.wait(PATIENCE) == 0
        assert found[0].latency_ms > 0
        wait_until_gone(child)


def test_nothing_is_left_of_a_killed_agent_and_its_client_goes_on_with_the_next(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks until an agent is there again, at the same address; its answer is the new one's."""
    monkeypatch.setattr(nas.measuring.agent.client, "LONGEST_PAUSE", 0.2)
    before = set(Path(tempfile.gettempdir()).glob("nas-agent-*"))
    found: list[Latency] = []
    with agent_process() as first:
        port = first.port
        agent = Agent(first.url, TOKEN, patience_seconds=PATIENCE)
        asking = threading.Thread(target=lambda: found.append(agent.measure(file, TARGET)))
        asking.start()
        while not first.children:
            time.sleep(0.01)
        (child,) = first.children
        first.process.kill()
        first.process.wait()
        wait_until_gone(child)
    assert not found
    with agent_process("--port", str(port)) as second:
        asking.join(PATIENCE)
        assert second.url == first.url
        assert found[0].latency_ms > 0
    assert set(Path(tempfile.gettempdir()).glob("nas-agent-*")) <= before


def test_over_tls_the_certificate_must_be_trusted(tmp_path: Path, file: Path) -> None:
    certificate, key = made_certificate(tmp_path)
    with agent_process("--certificate", str(certificate), "--key", str(key)) as running:
        assert running.url.startswith("https://127.0.0.1:")
        assert Agent(running.url, TOKEN, certificate).fingerprint(TARGET) == fingerprint(TARGET)
        with pytest.raises(PlaceLost, match="its certificate is not trusted"):
            Agent(running.url, TOKEN).fingerprint(TARGET)
        by_another_name = Agent(running.url.replace("127.0.0.1", "localhost"), TOKEN, certificate)
        with pytest.raises(PlaceLost, match=r"not trusted \(Hostname mismatch"):
            by_another_name.fingerprint(TARGET)
        with socket.create_connection(("127.0.0.1", running.port)) as idle:  # a handshake that never comes
            assert Agent(running.url, TOKEN, certificate).fingerprint(TARGET)
            idle.sendall(head("GET /fingerprint", Authorization=bearer()))  # nor are words in clear text answered
            assert b"HTTP" not in idle.recv(100)


def made_certificate(folder: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--key", "k.pem"], "--key: expected --certificate too"),
        (["--certificate", "missing.pem"], "--certificate missing.pem: cannot be used"),
        (["--seconds", "0"], "--seconds: expected a number above 0, got 0"),
        (["--megabytes", "nan"], "--megabytes: expected a number above 0, got nan"),
        (["--megabytes", "inf"], "--megabytes: expected a number above 0, got inf"),
        (["--gigabytes", "-1"], "--gigabytes: expected a number of 0 or more, got -1"),
        (["--host", "256.1.1.1"], "--host 256.1.1.1 --port 0: cannot listen there"),
        (["--token-file", "/no/such/folder/token"], "--token-file /no/such/folder/token: cannot be made"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["agent", "--port", "0", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith(words)
    assert told.count("\n") == 1


def test_a_new_token_is_shown_once_and_works(file: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COMPACT_NAS_AGENT_TOKEN"}
    process = subprocess.Popen(
        [sys.executable, "-m", "nas.measuring.agent", "--port", "0"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url, token = process.stdout.readline().split()[-1], process.stdout.readline().strip().partition("=")[2]
        assert len(token) >= 43
        assert said(int(url.rpartition(":")[2]), head("GET /", Authorization=bearer(token))).startswith(b"HTTP/1.1 404")
    finally:
        process.terminate()
        told, log = process.communicate()
    assert token not in told + log
