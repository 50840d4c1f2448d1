"""PostgreSQL, which mirrors the journal, is restarted under a running study; at the end it holds every trial."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent_faults import free_port
from ledger import trials
from one_run import Run, moments, quick, strike_until_enough
from outcome import Ground, Outcome
from process_table import wait_for

USER = "nas"
AWAY_SECONDS = 4.0
SHORTEST_SECONDS, LONGEST_SECONDS = 4.0, 10.0


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    there = shutil.which("postgres")
    return found[-1].parent if found else Path(there).parent if there else None


def no_postgres() -> str:
    if find_spec("psycopg") is None:
        return "psycopg is not installed (the extra `postgresql`)"
    return "" if binaries() else "no PostgreSQL server is installed (apt-get install postgresql)"


@dataclass
class Server:
    """On the loopback, open to everybody on this machine, with a folder of its own."""

    binaries: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    @property
    def how(self) -> dict[str, Any]:
        """PostgreSQL refuses to be run by root."""
        user = {"user": "nobody"} if os.geteuid() == 0 else {}
        return {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **user}

    def make(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
        command = [str(self.binaries / "initdb"), "-D", "data", "--auth=trust", "-E", "UTF8", "-U", USER]
        subprocess.run(command, **self.how, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = ["-D", "data", "-p", str(self.port), "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1"]
        with (self.folder / "server.txt").open("ab") as printed:
            command = [str(self.binaries / "postgres"), *options]
            process: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=printed, stderr=printed, **self.how)
        self.process = process
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        if not wait_for(lambda: subprocess.run(ready, **self.how, check=False).returncode == 0, 60.0):
            raise RuntimeError(f"the server does not start: {(self.folder / 'server.txt').read_text()}")

    def stop(self) -> None:
        """At once, as in a crash."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


@contextmanager
def server() -> Iterator[Server]:
    found = binaries()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # short: its socket lies in it
    own = Server(found, folder, free_port())
    try:
        own.make()
        own.start()
        yield own
    finally:
        own.stop()
        shutil.rmtree(folder)


def postgres_restart(ground: Ground) -> Outcome:
    """The search neither waits nor stops, and the mirror catches up."""
    outcome = Outcome()
    with server() as own:
        runs = list[Run]()

        def strike(_: Run) -> bool:
            own.stop()
            time.sleep(AWAY_SECONDS)
            own.start()
            return True

        def make(number: int) -> Run:
            study = {**quick(storage=own.url, seed=ground.seed + number), "name": f"faults-{number}"}
            runs.append(Run(ground.scratch / str(number), study))
            return runs[-1]

        strike_until_enough(ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS))
        for run in runs:
            own_trials, mirrored = ends(run), mirrored_ends(own, str(run.study["name"]))
            outcome.expect(own_trials == mirrored, f"the journal has {own_trials}, the database {mirrored}")
    return outcome


def ends(run: Run) -> dict[str, int]:
    """Finished trials of every study of the journal."""
    found: dict[str, int] = {}
    for trial in trials(run.folder):
        found[trial.study] = found.get(trial.study, 0) + bool(trial.ends)
    return found


def mirrored_ends(server: Server, name: str) -> dict[str, int]:
    """The same of the database, for the studies of a run."""
    import optuna

    storage = optuna.storages.RDBStorage(server.url.replace("postgresql://", "postgresql+psycopg://"))
    found = {}
    for study in optuna.get_all_study_names(storage):
        if study.partition("/")[0] == name and (all_ := optuna.load_study(study_name=study, storage=storage).trials):
            found[study] = sum(trial.state.is_finished() for trial in all_)
    storage.engine.dispose()
    return found
