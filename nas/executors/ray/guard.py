"""A process that outlives the driver for a moment, and ends what its own Ray leaves behind.

After a `kill -9` of the driver Ray's head and node end at once; the node's two agents look for the head for about a
minute. What belongs to a Ray is known by the files that it has open in that Ray's folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOMENT_SECONDS, ROUNDS = 2.0, 3  # in which they may end by themselves, and how often is looked for more


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """What has files open in `folder`, but for this process, ends with this block, or with this process."""
    words = [sys.executable, "-S", "-E", __file__, str(folder), str(os.getpid())]
    guard = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()  # until nobody holds the other end
    for _ in range(ROUNDS):
        deadline = time.monotonic() + MOMENT_SECONDS
        while (left := users_of(sys.argv[1], but=int(sys.argv[2]))) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return


def users_of(folder: str, *, but: int) -> list[int]:
    """Processes that have a file below a folder open, `but` one left out; none where the system does not tell."""
    inside = folder.rstrip("/") + "/"
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) != but and any(name.startswith(inside) for name in _open_files(process))
    ]


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):  # it has ended, or is another user's
        for entry in os.scandir(process / "fd"):
            with suppress(OSError):
                yield os.readlink(entry.path)


if __name__ == "__main__":
    main()
