"""A run that faults are done to: its study, its driver as a process, and all processes that came of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from ledger import Finished, attempts, changed, epochs_again, failures, finished, lost, mistakes, signs_of_life
from outcome import Ground, Outcome
from process_table import (
    LONGEST_SECONDS,
    POLL_SECONDS,
    STARTED,
    command_of,
    descendants,
    environment_of,
    kill,
    processes,
    reap,
    send,
    wait_for,
)

MARK = "FAULTS_RUN"
ACTORS = (b"ray::TrialActor", b"ray::MeasuringActor")
SOURCES = Path(__file__).parents[3]  # what is tried is what lies here, whatever is installed
DRIVER = Path(__file__).with_name("audited_driver.py")
ORPHAN_SECONDS = 20.0  # in which processes may end by themselves
QUICK: Mapping[str, Any] = {
    "name": "faults",
    "data": {"source": "digits", "train_images": 400, "validation": 0.2, "test": 0.2},
    "space": {"family": "mobile", "preset": "8px"},
    "compression": {"weight_format": ["int8", "fp32"], "granularity": "network"},
    "objectives": ["accuracy", "parameters", "size_bytes"],
    "search": {"sampler": "nsga2", "population": 6, "trials": 8, "seed": 0, "workers": 2, "finalists": 2},
    "training": {"epochs": 6, "batch_size": 64},
}


def quick(**search: Any) -> dict[str, Any]:
    """A study of digits that takes half a minute; `search` are its keys that differ."""
    return {**QUICK, "search": {**QUICK["search"], **search}}


@dataclass
class Run:
    """A study in a run folder. Every process that comes of it carries the mark in its environment.

    `before` are words that the driver's command begins with; `audited` says whether its workers log their epochs,
    `in_cluster` whether it joins a Ray cluster that outlives it. `left` are the orphans that there were.
    """

    place: Path
    study: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    audited: bool = True
    in_cluster: bool = False
    mark: str = field(default_factory=lambda: uuid4().hex)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(dict(self.study)), encoding="utf-8")

    @property
    def file(self) -> Path:
        return self.place / "study.yaml"

    @property
    def folder(self) -> Path:
        return self.place / "run"

    @property
    def epochs(self) -> Path:
        """The log of audited workers."""
        return self.place / "epochs.log"

    @property
    def output(self) -> Path:
        return self.place / "output.txt"

    @property
    def goal(self) -> int:
        return int(self.study["search"]["trials"])

    def start(self, *overrides: str, **environment: str) -> subprocess.Popen[bytes]:
        """Begin or continue the run; what it prints is added to `output`."""
        nas = [sys.executable, str(DRIVER)] if self.audited else [sys.executable, "-P", "-m", "nas.cli"]
        command = [*self.before, *nas, "run", str(self.file), *overrides, "--out", str(self.folder)]
        path = os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH"))))
        own = {"PYTHONPATH": path, MARK: self.mark, "FAULTS_EPOCHS": str(self.epochs), "FAULTS_CHECKPOINT_SECONDS": "0"}
        environment = {**os.environ, **own, **self.environment, **environment}
        with self.output.open("ab") as printed:
            driver = subprocess.Popen(command, stdout=printed, stderr=printed, env=environment, cwd=self.place)
        STARTED.add(driver.pid)
        return driver

    def finish(self, *overrides: str, **environment: str) -> int:
        """Continue the run to its end; its exit code."""
        return ended(self.start(*overrides, **environment))

    def processes(self) -> list[int]:
        """All that came of this run and lives. Ray's workers overwrite their environment, and are known by name."""
        mark = f"{MARK}={self.mark}".encode()
        marked = {pid for pid in processes() if mark in environment_of(pid)}
        names = ACTORS if self.in_cluster else (b"ray::",)  # the rest is the cluster's, and stays
        named = {pid for pid in descendants() if any(name in command_of(pid) for name in names)}
        return sorted(marked | named)

    def workers(self) -> list[int]:
        """Worker processes."""
        return [pid for pid in self.processes() if b"audited_worker.py" in command_of(pid)]

    def orphans(self, seconds: float = ORPHAN_SECONDS) -> int:
        """How many processes are left once nothing should be; what does not end by itself is ended here."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            reap()
            time.sleep(POLL_SECONDS)
        for pid in left:
            self.left.append(command_of(pid).replace(b"\0", b" ").decode(errors="replace").strip()[:100])
            send(pid, signal.SIGKILL)
        return len(left)

    def last_line(self) -> str:
        """The last that was printed."""
        lines = self.output.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def printed(self, words: str) -> bool:
        return words in " ".join(self.output.read_text(encoding="utf-8", errors="replace").split())


def ended(driver: subprocess.Popen[bytes]) -> int:
    """The exit code of a run that comes to its end; 124 where it does not in time, and is killed."""
    if ended_within(driver, LONGEST_SECONDS):
        return int(driver.returncode)
    kill(driver)
    return 124


def ended_within(driver: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        driver.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@dataclass(frozen=True)
class Moment:
    """When a fault is done, and what the run had kept by then."""

    run: Run
    kept: set[tuple[str, int]]
    at: float

    @classmethod
    def of(cls, run: Run) -> Moment:
        return cls(run, signs_of_life(run.folder), time.monotonic())

    def note_recovery(self, outcome: Outcome, driver: subprocess.Popen[bytes]) -> None:
        """Note the seconds until an epoch or evaluation is kept again; a run that ends before is not counted."""

        def went_on() -> bool:
            return bool(signs_of_life(self.run.folder) - self.kept)

        if not wait_for(lambda: went_on() or driver.poll() is not None):
            outcome.problems.append(f"nothing came for {LONGEST_SECONDS:.0f} s")
        elif went_on():
            outcome.recovery_s.append(time.monotonic() - self.at)


def compare(outcome: Outcome, before: Finished, folder: Path) -> dict[str, tuple[int, str]]:
    """Count what was lost or done again since `before`; returns what is finished now."""
    now = finished(folder)
    outcome.lost += len(lost(before, now))
    outcome.repeated += len(changed(before, now))
    return now


def over(outcome: Outcome, run: Run, code: int) -> None:
    """What is counted of every run at its end."""
    outcome.expect(code == 0, f"exit code {code}: {run.last_line()}")
    outcome.problems += mistakes(run.folder, goal=run.goal)
    outcome.orphans += run.orphans()
    outcome.notes += [f"left behind: {command}" for command in run.left]
    if run.audited:
        outcome.count_epochs(epochs_again(run.epochs))


def strike_until_enough(
    ground: Ground,
    outcome: Outcome,
    make: Callable[[int], Run],
    strike: Callable[[Run], bool],
    after_s: Iterator[float],
    thrice: str = "",
) -> None:
    """Runs whose driver goes on, one after the other, until there were enough strikes.

    `make` makes one by its number; `strike` does the fault, and says whether there was anything to do it to. `thrice`
    is what a candidate is blamed with that was struck three times, as is the rule.
    """
    for number in ground.runs(outcome):
        run = make(number)
        driver, before = run.start(), finished(run.folder)
        while outcome.times < ground.times and not ended_within(driver, next(after_s)):
            moment = Moment.of(run)
            if strike(run):
                outcome.times += 1
                moment.note_recovery(outcome, driver)
                ground.say(f"{outcome.times}: {outcome.recovery_s[-1:]} s to recover")
            before = compare(outcome, before, run.folder)
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        nothing_failed(outcome, run, thrice)


def nothing_failed(outcome: Outcome, run: Run, thrice: str = "") -> None:
    """No candidate was blamed but those struck `thrice`; counts those that took more than one attempt."""
    struck = sum(count for reason, count in failures(run.folder).items() if thrice and thrice in reason)
    if struck:
        outcome.notes.append(f"{struck} struck three times and so FAILED")
    others = {reason: count for reason, count in failures(run.folder).items() if not (thrice and thrice in reason)}
    outcome.expect(not others, f"failed: {others}")
    outcome.continued += sum(taken > 1 for taken in attempts(run.folder).values())


def moments(seed: int, shortest: float, longest: float) -> Iterator[float]:
    """Seconds between faults, at random."""
    rng = random.Random(seed)
    while True:
        yield rng.uniform(shortest, longest)
