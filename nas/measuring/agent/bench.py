"""The agent's side of its measuring process: started when needed, killed when it takes too long, replaced when dead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from nas.measuring.agent.exchange import Outcome
from nas.measuring.agent.tokens import VARIABLE

CHILD = (sys.executable, "-P", "-m", "nas.measuring.agent.child")  # -P: the user's folder shadows no module
START_SECONDS = 300.0  # engines load slowly from a board's memory card
MOST_LINE_BYTES = 2**22
TRIES = 2  # of a file over which the process dies or is late: once that may be another file's fault, or the machine's
ENDS = "the agent ends"
Answer = dict[str, Any]


class Ended(Exception):
    """The process is gone; the message says how."""


@dataclass
class Bench:
    """One process at a time. Must be used by one thread that lives as long: the process ends with it.

    `seconds` is what one measurement may take, `gigabytes` the memory of the process, 0 for no limit.
    """

    seconds: float
    gigabytes: float
    command: Sequence[str] = CHILD
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def ask(self, question: Mapping[str, Any], file: IO[bytes] | None) -> Answer:
        """The process's answer; an Outcome where it died over it or took too long twice, or cannot be started."""
        reason = ""
        for _ in range(TRIES):
            try:
                process = self._ready()
            except (OSError, Ended) as error:  # a TimeoutError is an OSError
                return {Outcome.UNABLE: str(error)}
            try:
                return self._asked(process, question, file)
            except (TimeoutError, Ended) as error:
                reason = str(error)
        return {Outcome.REFUSED: reason}

    def close(self) -> None:
        """End the process, whatever it is at; may be called from any thread."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _asked(self, process: subprocess.Popen[bytes], question: Mapping[str, Any], file: IO[bytes] | None) -> Answer:
        assert process.stdin is not None
        size = 0 if file is None else file.seek(0, os.SEEK_END)
        with self._killed_after(self.seconds, "measuring"):
            with suppress(BrokenPipeError):  # it shows at reading
                process.stdin.write(json.dumps({**question, "bytes": size}).encode() + b"\n")
                if file is not None:
                    file.seek(0)
                    shutil.copyfileobj(file, process.stdin)
                process.stdin.flush()
            return self._line()

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            if self._closed:
                raise Ended(ENDS)
            options = ["--agent", str(os.getpid()), "--gigabytes", f"{self.gigabytes:g}"]
            self._process = subprocess.Popen(
                [*self.command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # the terminal's Ctrl-C is the agent's
                env=_environment(),
            )
            if self._closed:  # meanwhile, when there was no process to end yet
                self.close()
                raise Ended(ENDS)
            with self._killed_after(START_SECONDS, "the start of the measuring process"):
                self._line()
        return self._process

    @contextmanager
    def _killed_after(self, seconds: float, what: str) -> Iterator[None]:
        """Kill the process when the time is over. Raises TimeoutError then."""
        process, late = self._process, threading.Event()
        assert process is not None

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Ended:
            if late.is_set():
                raise TimeoutError(f"{what} took more than {seconds:g} s") from None
            raise
        finally:
            timer.cancel()

    def _line(self) -> Answer:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = process.stdout.readline(MOST_LINE_BYTES)
        if line.endswith(b"\n"):
            found: Answer = json.loads(line)
            return found
        self._process = None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        raise Ended(f"the measuring process {_how(code)}")


def _environment() -> dict[str, str]:
    """The agent's own without its token: what opens files from elsewhere has no use for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLE)}
    return {**kept, "PYTHONSAFEPATH": "1"}


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
