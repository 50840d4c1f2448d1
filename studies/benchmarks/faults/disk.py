"""A disk that fills up: the run ends with exit code 1 and a sentence; with room again the same command continues."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger import finished
from one_run import Moment, Run, compare, ended, ended_within, moments, nothing_failed, over, quick
from outcome import Ground, Outcome

DISK_BYTES = 64 * 10**6
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 10.0


def no_mounts() -> str:
    return "" if os.geteuid() == 0 else "only root can mount a small disk"


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system in memory of DISK_BYTES. Raises CalledProcessError where it may not be mounted."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "faults", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """A file that takes all the room there is, to the last byte."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def full_disk(ground: Ground) -> Outcome:
    """Filled at random moments, and emptied once the run has ended by it."""
    outcome = Outcome(notes=["the run folder on a file system of its own"])
    after_s = moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    place = ground.scratch / "disk"
    with small_disk(place):
        for number in ground.runs(outcome):
            run = Run(place / str(number), quick(seed=ground.seed + number))
            fill_until_the_end(run, outcome, after_s, ground)
    return outcome


def fill_until_the_end(run: Run, outcome: Outcome, after_s: Iterator[float], ground: Ground) -> None:
    driver, before = run.start(), finished(run.folder)
    while outcome.times < ground.times and not ended_within(driver, next(after_s)):
        ballast = fill(run.place)
        if (code := ended(driver)) != 0:  # the rest of a run may need no more room
            outcome.times += 1
            words = f"exit code {code}: {run.last_line()}"
            outcome.expect(code == 1 and not run.printed("Traceback"), words)
        ballast.unlink()
        if code == 0:
            break
        outcome.orphans += run.orphans()
        before = compare(outcome, before, run.folder)
        moment = Moment.of(run)
        driver = run.start()
        moment.note_recovery(outcome, driver)
        ground.say(f"disk full {outcome.times}: {len(before)} finished")
    code = ended(driver)
    compare(outcome, before, run.folder)
    over(outcome, run, code)
    nothing_failed(outcome, run)
