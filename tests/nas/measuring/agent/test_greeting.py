"""What is said of a study's agents before it begins."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from agents import TOKEN, MadeUp, server

import nas.measuring.agent.greeting
from nas.errors import InputError, PlaceLost
from nas.measuring.agent.greeting import doubts_of_agents, goes_in_clear, greet
from nas.measuring.agent.tokens import VARIABLE
from nas.measuring.latency import PROTOCOL
from nas.measuring.places import HERE, places_of
from nas.runtimes.onnx.control import control_file
from nas.runtimes.onnxruntime import fingerprint
from nas.study import Target

ENVIRONMENT = {VARIABLE: TOKEN}
HERE_ALONE = Target(name="here")


def answers(**latency: Any) -> list[dict[str, Any]]:
    """What an agent says to a greeting: its fingerprint, then the latency of the control network."""
    told = fingerprint(HERE_ALONE).model_dump(mode="json")
    measured = {"latency_ms": 1.0, "stable": True, "protocol": PROTOCOL, "control_ms": 1.0, "fingerprint": told}
    return [
        {"sha256": sha256(b"").hexdigest(), "fingerprint": told, "protocol": PROTOCOL},
        {"sha256": sha256(control_file()).hexdigest(), "latency": {**measured, "passes_us": [[1.0]], **latency}},
    ]


@pytest.fixture
def bench() -> MadeUp:
    return MadeUp()


@pytest.fixture
def pi(bench: MadeUp) -> Iterator[Target]:
    with server(bench) as found:
        yield Target(name="pi", batch=4, agent=f"http://127.0.0.1:{found.server_address[1]}")


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(nas.measuring.agent.greeting, "SHORT_PATIENCE_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return Target(name="gone", agent=f"http://127.0.0.1:{listening.getsockname()[1]}")


def test_a_quiet_agent_leaves_nothing_to_say(pi: Target, bench: MadeUp) -> None:
    bench.answers += answers()
    assert list(greet([HERE_ALONE, pi], ENVIRONMENT)) == []
    assert [what for what, _ in bench.asked] == ["/fingerprint", "/measure"]


def test_a_noisy_device_is_named(pi: Target, bench: MadeUp) -> None:
    bench.answers += answers(stable=False)
    (said,) = greet([HERE_ALONE, pi], ENVIRONMENT)
    assert said == "targets[1].agent: pi is noisy: its control network takes now more, now less time"


def test_an_agent_that_is_gone_ends_a_run_and_is_a_doubt_for_a_check(gone: Target) -> None:
    with pytest.raises(PlaceLost, match=f"the agent at {gone.agent} does not answer"):
        list(greet([gone], ENVIRONMENT))
    (said,) = doubts_of_agents([HERE_ALONE, gone], ENVIRONMENT)
    assert said.startswith(f"targets[1].agent: the agent at {gone.agent} does not answer: ")


def test_a_missing_token_is_the_users_to_mend(pi: Target) -> None:
    with pytest.raises(InputError, match=f"target 'pi': set {VARIABLE}_PI or {VARIABLE}"):
        list(greet([pi], {}))
    (said,) = doubts_of_agents([pi], {})
    assert said.startswith("targets[0].agent: target 'pi': set ")


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://127.0.0.1:1", False), ("http://localhost:1", False), ("http://[::1]:1", False),
        ("http://10.0.0.1:1", True), ("http://pi:1", True), ("https://pi:1", False),
    ],
)  # fmt: skip
def test_who_may_read_a_token(url: str, in_clear: bool) -> None:
    assert goes_in_clear(url) == in_clear


def test_targets_with_an_agent_are_measured_by_it(pi: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    places = places_of([HERE_ALONE, pi])
    assert places["here"] is HERE
    assert getattr(places["pi"], "url", None) == pi.agent
    assert places_of([pi])["pi"] is places["pi"]  # it remembers its device from one measurement to the next
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(InputError, match="'pi'"):
        places_of([pi])
