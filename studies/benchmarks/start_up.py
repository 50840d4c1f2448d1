"""How long a command takes that does next to nothing: what a user waits before anything happens.

python studies/benchmarks/start_up.py studies/digits.yaml --json studies/results/start-up.json

Each command runs in a process of its own, all of them in turn, so that a busy minute hits all alike; the fastest run
says what the command needs. The last line starts a worker on the study, as a run does, and waits until it is ready.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from nas.executors.environment import worker_environment
from nas.files import write_atomically
from nas.run_folder.paths import RunFolder
from nas.study.file import dump_study, load_study

LIMITS_S = {"nas --help": 0.5, "nas check": 1.0}


def command_seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-m", "nas.cli", *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def worker_seconds(study: Path) -> float:
    """From the start of a worker's process to its line that says it is ready."""
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        write_atomically(folder.study, dump_study(load_study(study)))
        answers, theirs = os.pipe()
        command = [sys.executable, "-P", "-m", "nas.executors.worker", place, "--driver", str(os.getpid())]
        command += ["--answers", str(theirs)]
        start = time.perf_counter()
        environment = {**os.environ, **worker_environment(1)}
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(theirs,), env=environment) as worker:
            os.close(theirs)
            with os.fdopen(answers, "rb") as lines:
                assert b"ready" in lines.readline()
            seconds = time.perf_counter() - start
            worker.kill()
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timed: Mapping[str, Callable[[], float]] = {
        "nas --help": lambda: command_seconds("--help"),
        "nas check": lambda: command_seconds("check", str(arguments.study)),
        "a worker": lambda: worker_seconds(arguments.study),
    }
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(arguments.runs):
        for name, run in timed.items():
            seconds[name].append(run())
    table = Table(title=f"Start-up, {arguments.runs} runs each")
    for column in ("what", "fastest s", "median s", "limit s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    found = {}
    for name, samples in seconds.items():
        limit = LIMITS_S.get(name)
        found[name] = {"fastest_s": min(samples), "median_s": median(samples), "limit_s": limit}
        table.add_row(name, f"{min(samples):.2f}", f"{median(samples):.2f}", f"{limit:.1f}" if limit else "–")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
