"""The secret that agent and client share: where it is read, and how it is compared. It is never printed again."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from nas.errors import InputError

VARIABLE = "COMPACT_NAS_AGENT_TOKEN"
_ALLOWED = re.compile(r"[A-Za-z0-9_.~+/=-]+")  # of a Bearer token, RFC 6750
_LEAST_LENGTH = 16
_OPEN_TO_OTHERS = 0o077


def new_token() -> str:
    return secrets.token_urlsafe(32)


def checked(token: str, where: str) -> str:
    """The token, if it can be one; `where` it stands is all that an error tells of it."""
    if len(token) < _LEAST_LENGTH or not _ALLOWED.fullmatch(token):
        raise InputError(
            f"{where}: expected at least {_LEAST_LENGTH} characters of letters, digits and _.~+/=-, "
            f"got {len(token)} characters"
        )
    return token


def agent_token(file: Path | None, environment: Mapping[str, str]) -> tuple[str, bool]:
    """The agent's token, and whether it was made just now: from `file` (made where it is missing), else VARIABLE."""
    if file is not None:
        return _of_file(file)
    if VARIABLE in environment:
        return checked(environment[VARIABLE], VARIABLE), False
    return new_token(), True


def _of_file(file: Path) -> tuple[str, bool]:
    try:
        with file.open(encoding="ascii", errors="replace") as stream:
            if os.fstat(stream.fileno()).st_mode & _OPEN_TO_OTHERS:
                raise InputError(
                    f"--token-file {file}: expected a file that its owner alone may read: chmod 600 {file}"
                )
            return checked(stream.read(4096).strip(), f"--token-file {file}"), False
    except FileNotFoundError:
        token = new_token()
    except OSError as error:
        raise InputError(f"--token-file {file}: cannot be read: {error.strerror}") from None
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"--token-file {file}: cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{token}\n")
    return token, True


def variable_of(target: str) -> str:
    """The variable of one target's token: its name in capitals, with _ for whatever a variable cannot hold."""
    return f"{VARIABLE}_{re.sub('[^A-Z0-9]', '_', target.upper())}"


def client_token(target: str, environment: Mapping[str, str]) -> str:
    """The token for a target's agent. Raises InputError where the environment holds none."""
    for name in (variable_of(target), VARIABLE):
        if name in environment:
            return checked(environment[name], name)
    raise InputError(f"set {variable_of(target)} or {VARIABLE} to the token that its `nas agent` was started with")


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of where they differ, nor of their lengths."""
    return hmac.compare_digest(sha256(given.encode(errors="replace")).digest(), sha256(expected.encode()).digest())
