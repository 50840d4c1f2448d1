"""How the steps of a training are shared out among its stages. No torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from compressors.steps import FIRST_STAGE, STEPS, Request, retraining_of


def stage_steps(shares: Mapping[str, float], active: Sequence[str], steps: int) -> list[int]:
    """Steps of each active stage, in all `steps`, by the study's `shares`."""
    return _largest_remainder(_active_shares(shares, active), steps)


def requests_by_stage(requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
    """Stage -> what is applied before it: its own step, and those since the stage before that have none."""
    found: dict[str, tuple[Request, ...]] = {FIRST_STAGE: ()}
    waiting: list[Request] = []
    for request in requests:
        waiting.append(request)
        if request.step.training is not None:
            found[request.step.name] = tuple(waiting)
            waiting = []
    return found


def _active_shares(given: Mapping[str, float], active: Sequence[str]) -> list[float]:
    """The share of each active stage, in all 1.

    The share of one that does not take place goes to the nearest before it in the table. One without a share in `given`
    gets its row's, and all are scaled.
    """
    table = [FIRST_STAGE, *STEPS]
    shares = {name: given.get(name, 0.0) for name in table}
    for before, name in reversed(list(itertools.pairwise(table))):
        if name not in active:
            shares[before] += shares.pop(name)
    missing = [name for name in active if name not in given]
    for name in missing:
        shares[name] += retraining_of(name).share
    total = sum(shares[name] for name in active) if missing else 1.0
    return [shares[name] / total for name in active]


def _largest_remainder(shares: list[float], total: int) -> list[int]:
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
