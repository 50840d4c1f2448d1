"""A second driver on the same run folder: refused at once, with a sentence; the first one is not disturbed."""

from __future__ import annotations

import subprocess

from ledger import finished
from one_run import Run, compare, ended, ended_within, moments, over, quick
from outcome import Ground, Outcome
from process_table import kill, wait_for

WRONG_INPUT = 2
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 4.0


def two_drivers(ground: Ground) -> Outcome:
    """Started together first, then while the first one works."""
    outcome, after_s = Outcome(), moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    run = Run(ground.scratch, quick(seed=ground.seed))
    pair = [run.start(), run.start()]
    outcome.times += 1
    wait_for(lambda: any(driver.poll() is not None for driver in pair), 60)
    refused = [driver for driver in pair if driver.poll() is not None]
    if len(refused) != 1:
        outcome.problems.append(f"{len(refused)} of two drivers were refused")
        for driver in pair:
            kill(driver)
        return outcome
    (driver,) = (driver for driver in pair if driver is not refused[0])
    check_refusal(outcome, run, refused[0])
    while outcome.times < ground.times and not ended_within(driver, next(after_s)):
        before = finished(run.folder)
        outcome.times += 1
        second = run.start()
        ended(second)
        if driver.poll() is None:  # else the second one found the folder free
            check_refusal(outcome, run, second)
        compare(outcome, before, run.folder)
    over(outcome, run, ended(driver))
    return outcome


def check_refusal(outcome: Outcome, run: Run, driver: subprocess.Popen[bytes]) -> None:
    code = driver.returncode
    outcome.expect(code == WRONG_INPUT, f"the second driver ended with {code}")
    outcome.expect(run.printed("another `nas run` (process"), "nothing said that another driver works there")
