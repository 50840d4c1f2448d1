"""The system's PostgreSQL for tests: a folder and a port of its own, an unprivileged user, gone at the end."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from ports import free_port

USER, PASSWORD = "nas", "open-sesame-314"
START_SECONDS = 20
PR_SET_PDEATHSIG = 1


def binaries() -> Path | None:
    """The folder of the newest server that the system has."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    there = shutil.which("postgres")
    return found[-1].parent if found else Path(there).resolve().parent if there else None


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


@dataclass
class Server:
    """On the loopback, where it asks for PASSWORD; also at a socket in its folder, where it does not."""

    binaries: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    user: dict[str, Any] = field(default_factory=lambda: {"user": "nobody"} if os.getuid() == 0 else {})

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        return f"postgresql:///postgres?host={self.folder}&port={self.port}&user={USER}"

    def make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        if self.user:
            owner = pwd.getpwnam("nobody").pw_uid
            for path in (self.folder, self.folder / "password"):
                os.chown(path, owner, -1)
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-sync", "-U", USER]
        self._run("initdb", "-D", "data", f"--pwfile={self.folder / 'password'}", *options)

    def start(self) -> None:
        options = f"-D data -p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        command = [str(self.binaries / "postgres"), *options.split()]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_dies_with_us, **self._how())
        end = time.monotonic() + START_SECONDS
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        while subprocess.run(ready, **self._how(), check=False).returncode:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as in a crash: what was not committed is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_SECONDS)
            self.process = None

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([str(self.binaries / name), *arguments], **self._how(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def _how(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **self.user}


Test = TypeVar("Test", bound=Callable[..., None])


def on_postgres(test: Test) -> Test:
    """Mark a test that needs the fixture `server`: all of them share one, in one process."""
    reason = "no PostgreSQL server: apt-get install postgresql"
    skipped: Test = pytest.mark.skipif(binaries() is None, reason=reason)(test)
    return cast("Test", pytest.mark.xdist_group("postgres")(skipped))


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs; its folder's path is short, since a socket's must be."""
    found = binaries()
    assert found is not None, "no PostgreSQL server on this machine"
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    server = Server(found, folder, free_port())
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
