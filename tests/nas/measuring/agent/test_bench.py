"""The measuring process, with made-up programs in its place: it answers, hangs, dies, and is replaced."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nas.measuring.agent.bench
from nas.measuring.agent.bench import Bench
from nas.measuring.agent.exchange import Outcome
from nas.measuring.agent.tokens import VARIABLE, variable_of

# Says how many bytes it read and who it is; does what the file says, where that is a word that it knows.
PROGRAM = """
import json, os, sys, time
print(json.dumps({"ready": 1}), flush=True)
for line in iter(sys.stdin.buffer.readline, b""):
    content = sys.stdin.buffer.read(json.loads(line)["bytes"])
    if content == b"hang":
        time.sleep(60)
    if content == b"die":
        os.abort()
    if content == b"leave":
        sys.exit(3)
    if content == b"late once" and not os.path.exists(MARK):
        open(MARK, "w").close()
        time.sleep(60)
    if content == b"die once" and not os.path.exists(MARK):
        open(MARK, "w").close()
        os.abort()
    tokens = [name for name in os.environ if "TOKEN" in name]
    print(json.dumps({"read": len(content), "pid": os.getpid(), "tokens": tokens}), flush=True)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    program = f"MARK = {str(tmp_path / 'mark')!r}\n{PROGRAM}"
    found = Bench(60.0, 2.0, (sys.executable, "-S", "-c", program))
    yield found
    found.close()


def asked(bench: Bench, content: bytes) -> dict[str, object]:
    return bench.ask({"what": "/measure", "target": "{}"}, io.BytesIO(content))


def test_what_opens_files_from_elsewhere_has_no_token(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, variable_of("pi")):
        monkeypatch.setenv(name, "a-token-of-these-tests")
    monkeypatch.setenv("OTHER_TOKEN", "kept")
    assert asked(bench, b"abc")["tokens"] == ["OTHER_TOKEN"]


def is_there(pid: object) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_one_process_answers_all_questions(bench: Bench) -> None:
    first, second = asked(bench, b"abc"), asked(bench, b"x" * 300_000)
    assert (first["read"], second["read"]) == (3, 300_000)
    assert first["pid"] == second["pid"]
    assert bench.ask({"what": "/fingerprint"}, None)["read"] == 0


def test_a_process_that_hangs_is_killed_and_the_next_file_has_a_new_one(bench: Bench) -> None:
    pid = asked(bench, b"abc")["pid"]
    bench.seconds = 0.2
    assert asked(bench, b"hang") == {Outcome.REFUSED: "measuring took more than 0.2 s"}
    assert not is_there(pid)
    bench.seconds = 60.0
    assert asked(bench, b"abc")["pid"] != pid


@pytest.mark.parametrize(("word", "how"), [(b"die", "was ended by SIGABRT"), (b"leave", "ended with code 3")])
def test_a_file_that_ends_the_process_twice_is_refused(bench: Bench, word: bytes, how: str) -> None:
    assert asked(bench, word) == {Outcome.REFUSED: f"the measuring process {how}"}
    assert asked(bench, b"abc")["read"] == 3


def test_a_file_over_which_the_process_died_is_tried_once_more(bench: Bench) -> None:
    assert asked(bench, b"die once")["read"] == 8


def test_so_is_one_over_which_it_was_late(bench: Bench) -> None:
    """The machine may have been busy with something else, or asleep."""
    bench.seconds = 1.0
    assert asked(bench, b"late once")["read"] == 9


def test_the_end_ends_the_process_and_begins_no_other(bench: Bench) -> None:
    pid = asked(bench, b"abc")["pid"]
    bench.close()
    assert not is_there(pid)
    assert asked(bench, b"abc") == {Outcome.UNABLE: "the agent ends"}


def test_the_end_may_come_while_a_process_starts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def closing(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        bench.close()
        started.append(popen(*words, **options))
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", closing)
    assert asked(bench, b"abc") == {Outcome.UNABLE: "the agent ends"}
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_a_process_that_does_not_start_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.measuring.agent.bench, "START_SECONDS", 0.2)
    late = Bench(60.0, 0.0, (sys.executable, "-S", "-c", "import time; time.sleep(60)"))
    assert asked(late, b"") == {Outcome.UNABLE: "the start of the measuring process took more than 0.2 s"}
    wrong = Bench(60.0, 0.0, (sys.executable, "-S", "-c", "raise SystemExit(5)"))
    assert asked(wrong, b"") == {Outcome.UNABLE: "the measuring process ended with code 5"}
    assert Outcome.UNABLE in asked(Bench(60.0, 0.0, ("/no/such/program",)), b"")
