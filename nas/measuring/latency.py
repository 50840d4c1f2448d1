"""The measuring protocol: one measurement at a time on this machine, repeated until two passes agree.

A pass is 12 blocks of 25 single calls, each block followed by one of a fixed reference network; its result is the
minimum, the estimator that repeats best on a busy machine. A pass counts as disturbed where the reference was over 10 %
slower than it can be: beside another process a machine may be a third slower for half a second, and two such passes
agree with each other. Two undisturbed passes that agree within 2 % end the measurement; after six without such a pair
the figure is kept and marked unstable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nas.measuring.turns import exclusive
from nas.records import Latency
from nas.runtimes.onnx.control import CONTROL_SHAPE, control_file
from nas.runtimes.onnxruntime import Runner, fingerprint
from nas.study import Target

PROTOCOL = "min of 12x25 calls, two passes within 2 % beside an undisturbed reference, v2"
BLOCKS, CALLS, WARM_UP = 12, 25, 20
TOLERANCE, MAX_PASSES = 0.02, 6
DISTURBED, PAUSE_SECONDS = 0.10, 0.1
_usual_us: dict[Target, float] = {}  # the least the reference took in this process, since the machine last changed


class Timed(Protocol):
    """What is timed: a loaded network that reports single calls in microseconds."""

    def time_us(self, image: np.ndarray[Any, Any], runs: int) -> list[float]: ...


def measure(file: Path | bytes, target: Target) -> Latency:
    """Latency of one file on one target; training in other processes pauses meanwhile."""
    runner, reference = Runner(file, target), Runner(control_file(), target)
    image = np.random.default_rng(0).random((target.batch, *runner.input_shape()), dtype=np.float32)
    with exclusive():
        usual_us = _usual_us[target] if target in _usual_us else settled_us(reference)
        passes, reference_us, stable = run_protocol(runner, image, reference, usual_us=usual_us)
    # Where no pass was undisturbed the machine may have become slower for good (heat, a neighbour): begin anew.
    _usual_us[target] = min(usual_us, reference_us) if stable else reference_us
    return Latency(
        latency_ms=min(map(min, passes)) / 1e3,
        stable=stable,
        protocol=PROTOCOL,
        reference_ms=reference_us / 1e3,
        fingerprint=fingerprint(target),
        passes_us=tuple(tuple(round(sample, 2) for sample in samples) for samples in passes),
    )


def settled_us(reference: Timed, *, pause: Callable[[float], None] = time.sleep) -> float:
    """The least the reference takes over a third of a second: longer than most disturbances last."""
    found = []
    for _ in range(BLOCKS):
        found += reference.time_us(np.zeros(CONTROL_SHAPE, np.float32), CALLS)
        pause(PAUSE_SECONDS / 4)
    return min(found)


def run_protocol(
    network: Timed,
    image: np.ndarray[Any, Any],
    reference: Timed,
    *,
    usual_us: float = float("inf"),
    pause: Callable[[float], None] = time.sleep,
) -> tuple[list[list[float]], float, bool]:
    """Samples of every pass, the reference's minimum, and whether the two fastest undisturbed passes agree.

    `usual_us` is what the reference takes on an undisturbed machine; behind a disturbed pass comes a `pause` (seconds).
    """
    reference_image = np.zeros(CONTROL_SHAPE, np.float32)
    network.time_us(image, WARM_UP)
    passes: list[list[float]] = []
    references_us: list[float] = []
    while len(passes) < MAX_PASSES:
        samples: list[float] = []
        beside: list[float] = []
        for _ in range(BLOCKS):
            samples += network.time_us(image, CALLS)
            beside += reference.time_us(reference_image, CALLS)
        passes.append(samples)
        references_us.append(min(beside))
        limit = min(usual_us, *references_us) * (1 + DISTURBED)
        if agree([min(p) for p, us in zip(passes, references_us, strict=True) if us <= limit]):
            return passes, min(references_us), True
        if references_us[-1] > limit:
            pause(PAUSE_SECONDS)
    return passes, min(references_us), False


def agree(minima: list[float]) -> bool:
    """Whether the two smallest of the passes' minima lie within the tolerance."""
    if len(minima) < 2:
        return False
    first, second = sorted(minima)[:2]
    return second <= first * (1 + TOLERANCE)
