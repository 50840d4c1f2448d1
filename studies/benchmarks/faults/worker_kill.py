"""SIGKILL of worker processes while the driver goes on."""

from __future__ import annotations

import os
import random
import signal

from ledger import attempts, failures, finished
from outcome import Ground, Outcome
from runs import Moment, Run, compare, ended, ended_within, moments, over, quick

SHORTEST_SECONDS, LONGEST_SECONDS = 3.0, 9.0


def worker_kill(ground: Ground) -> Outcome:
    """A worker at random, whatever it does: it is replaced, and its trial goes on from its checkpoint."""
    outcome, rng, number = Outcome(), random.Random(ground.seed), 0
    after_s = moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    while outcome.times < ground.times:
        run = Run(ground.scratch / str(number), quick(seed=ground.seed + number))
        driver, before, number = run.start(), finished(run.folder), number + 1
        while outcome.times < ground.times and not ended_within(driver, next(after_s)):
            if not (workers := run.workers()):
                continue
            moment = Moment.of(run)
            os.kill(rng.choice(workers), signal.SIGKILL)
            outcome.times += 1
            moment.note_recovery(outcome, driver)
            before = compare(outcome, before, run.folder)
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        outcome.expect(not failures(run.folder), f"failed: {dict(failures(run.folder))}")
        outcome.continued += sum(number > 1 for number in attempts(run.folder).values())
    return outcome
