"""SIGTERM with 30 seconds' notice, to the driver alone or to every process as batch systems do; then the same again."""

from __future__ import annotations

import signal
import time

from ledger import finished
from one_run import Moment, Run, compare, ended, ended_within, moments, nothing_failed, over, quick
from outcome import Ground, Outcome
from process_table import kill, send

NOTICE_SECONDS = 30.0
SHORTEST_SECONDS, LONGEST_SECONDS = 4.0, 16.0
TERMINATED = 143


def notice(ground: Ground) -> Outcome:
    """To the driver alone first, then to all of its processes, in turn."""
    outcome, leaving_s = Outcome(), list[float]()
    after_s = moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    for number in ground.runs(outcome):
        run = Run(ground.scratch / str(number), quick(seed=ground.seed + number))
        driver, before = run.start(), finished(run.folder)
        while outcome.times < ground.times and not ended_within(driver, next(after_s)):
            outcome.times += 1
            began = time.monotonic()
            for pid in run.processes() if outcome.times % 2 == 0 else [driver.pid]:
                send(pid, signal.SIGTERM)
            if not ended_within(driver, NOTICE_SECONDS):
                kill(driver)
            leaving_s.append(time.monotonic() - began)
            outcome.expect(driver.returncode in (TERMINATED, -signal.SIGTERM), f"exit code {driver.returncode}")
            outcome.orphans += run.orphans(2.0)
            before = compare(outcome, before, run.folder)
            moment = Moment.of(run)
            driver = run.start()
            moment.note_recovery(outcome, driver)
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        nothing_failed(outcome, run)
    outcome.notes.append(f"gone {max(leaving_s, default=0.0):.1f} s after SIGTERM at most")
    return outcome
