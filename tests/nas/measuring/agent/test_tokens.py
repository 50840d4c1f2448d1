"""Tokens: where they are read, that they are hard to guess, and that no error repeats them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import InputError
from nas.measuring.agent.tokens import VARIABLE, agent_token, client_token, new_token, same, variable_of

GOOD = "0123456789abcdef"


@given(st.text(), st.text())
def test_same_is_equality(one: str, other: str) -> None:
    assert same(one, one)
    assert same(one, other) == (one == other)


def test_without_file_and_variable_every_start_has_a_new_token() -> None:
    found = {agent_token(None, {}) for _ in range(20)}
    assert len(found) == 20
    assert all(is_new and len(token) >= 43 for token, is_new in found)  # 256 bits
    assert agent_token(None, {VARIABLE: GOOD}) == (GOOD, False)


def test_a_file_is_made_for_its_owner_alone_and_then_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token, is_new = agent_token(file, {VARIABLE: GOOD})
    assert is_new
    assert token != GOOD
    assert file.stat().st_mode & 0o777 == 0o600
    assert agent_token(file, {}) == (token, False)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(GOOD)
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        agent_token(file, {})
    file.chmod(0o400)
    assert agent_token(file, {}) == (GOOD, False)


def test_a_file_that_cannot_be_made_or_read_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--token-file .*: cannot be read: Is a directory"):
        agent_token(tmp_path, {})
    with pytest.raises(InputError, match="cannot be made: No such file"):
        agent_token(tmp_path / "no" / "token", {})


@pytest.mark.parametrize(
    "token", ["", "short-fifteen-1", "spaces within it are no token", "é" * 20, GOOD + "\n" + GOOD]
)
def test_an_error_does_not_repeat_a_token(token: str) -> None:
    with pytest.raises(InputError, match=f"got {len(token)} characters") as error:
        agent_token(None, {VARIABLE: token})
    assert not token or token not in str(error.value)


def test_a_target_has_its_own_token_or_that_of_all() -> None:
    assert variable_of("pi-5.a") == f"{VARIABLE}_PI_5_A"
    assert client_token("pi", {VARIABLE: GOOD}) == GOOD
    assert client_token("pi", {VARIABLE: GOOD, f"{VARIABLE}_PI": GOOD + "5"}) == GOOD + "5"
    with pytest.raises(InputError, match=f"set {VARIABLE}_PI or {VARIABLE}"):
        client_token("pi", {f"{VARIABLE}_CAM": GOOD})


def test_a_new_token_is_a_token() -> None:
    assert client_token("x", {VARIABLE: (token := new_token())}) == token
