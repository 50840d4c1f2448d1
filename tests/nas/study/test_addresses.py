"""Addresses of agents: what is taken, in which form, and that no error repeats a password."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nas.study import Target
from nas.study.addresses import agent_url, is_loopback


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://pi5:8947", "http://pi5:8947"),
        ("https://10.0.0.7:1/", "https://10.0.0.7:1"),
        ("http://[::1]:8947", "http://[::1]:8947"),
        ("https://cam.example", "https://cam.example"),
        ("HTTP://Pi5:8947", "http://pi5:8947"),
    ],
)
def test_what_is_taken(given: str, kept: str) -> None:
    assert agent_url(given) == kept
    assert agent_url(kept) == kept
    assert Target(name="pi", agent=given).agent == kept


@pytest.mark.parametrize(
    "given",
    [
        "", "pi5:8947", "ftp://pi5:8947", "http://", "http://:8947", "http://pi5:99999", "http://pi5:x", "http://[::1",
        "http://pi5:8947/measure", "http://pi5:8947?x", "http://pi5:8947#x", "http://pi 5:8947", "http://pi5\n:8947",
        "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"expected http://host:port or https://host:port"):
        agent_url(given)


@pytest.mark.parametrize("password", ["secret", "sec/ret", "sec#ret", "sec?ret", "[sec"])
def test_a_password_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(ValueError, match="no user and no password") as error:
        agent_url(f"http://me:{password}@pi5:8947")
    assert "sec" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True), ("", False), ("0.0.0.0", False),
     ("::", False), ("10.0.0.1", False), ("pi5", False)],
)  # fmt: skip
def test_what_means_the_machine_itself(host: str, is_own: bool) -> None:
    assert is_loopback(host) == is_own


def test_a_target_is_measured_at_one_place() -> None:
    assert [Target(name="t").is_elsewhere, Target(name="t", device="pi").is_elsewhere] == [False, True]
    with pytest.raises(ValidationError, match="device or agent"):
        Target(name="t", device="pi", agent="http://x:1")
