"""SIGKILL of worker processes while the driver goes on."""

from __future__ import annotations

import random
import signal

from one_run import Run, moments, quick, strike_until_enough
from outcome import Ground, Outcome
from process_table import send

SHORTEST_SECONDS, LONGEST_SECONDS = 3.0, 9.0


def worker_kill(ground: Ground) -> Outcome:
    """A worker at random, whatever it does: it is replaced, and its trial goes on from its checkpoint."""
    outcome, rng = Outcome(), random.Random(ground.seed)

    def strike(run: Run) -> bool:
        workers = run.workers()
        return bool(workers) and send(rng.choice(workers), signal.SIGKILL)

    def make(number: int) -> Run:
        return Run(ground.scratch / str(number), quick(seed=ground.seed + number))

    strike_until_enough(
        ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS), "(death 3)"
    )
    return outcome
