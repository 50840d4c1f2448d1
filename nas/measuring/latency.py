"""The measuring protocol: one measurement at a time on this machine, repeated until two passes agree.

A pass is 12 blocks of 25 single calls, each block followed by one of the control, a fixed network that the same runtime
runs. The result of a pass is its minimum, the estimator that repeats best on a busy machine. A pass counts as disturbed
where the control was over 10 % slower than it can be: beside another process a machine may be a third slower for half a
second, and two such passes agree with each other. Two undisturbed passes that agree within 2 % end the measurement;
after six without such a pair the figure is kept and marked unstable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from nas.measuring.turns import exclusive
from nas.records import Latency
from nas.runtimes.runtime import CONTROL_SHAPE, Array, runtime_of
from nas.study import Target

PROTOCOL = "min of 12x25 calls, two passes within 2 % beside an undisturbed reference, v2"
BLOCKS, CALLS, WARM_UP = 12, 25, 20
TOLERANCE, MAX_PASSES = 0.02, 6
DISTURBED, PAUSE_SECONDS = 0.10, 0.1
# The least that the control took in this process on a target, since the machine last changed.
_usual_us: dict[Target, float] = {}


class Timed(Protocol):
    """What is timed: a loaded network that reports single calls in microseconds."""

    def time_us(self, image: Array, runs: int) -> list[float]: ...


def measure(file: Path | bytes, target: Target) -> Latency:
    """Latency of one file on one target; training in other processes pauses meanwhile. Raises RuntimeRefused."""
    runtime, alone = runtime_of(target), target.model_copy(update={"batch": 1})
    runner, control = runtime.open(file, target), runtime.open(runtime.control(), alone)
    image = np.random.default_rng(0).random((target.batch, *runner.input_shape()), dtype=np.float32)
    with exclusive():
        usual_us = _usual_us[target] if target in _usual_us else settled_us(control)
        passes, control_us, stable = run_protocol(runner, image, control, usual_us=usual_us)
    # Where no pass was undisturbed the machine may have become slower for good (heat, a neighbour): start again.
    _usual_us[target] = min(usual_us, control_us) if stable else control_us
    return Latency(
        latency_ms=min(map(min, passes)) / 1e3,
        stable=stable,
        protocol=PROTOCOL,
        control_ms=control_us / 1e3,
        fingerprint=runtime.fingerprint(target),
        passes_us=tuple(tuple(round(sample, 2) for sample in samples) for samples in passes),
    )


def settled_us(control: Timed, *, pause: Callable[[float], None] = time.sleep) -> float:
    """The least the control takes over a third of a second: longer than most disturbances last."""
    found = []
    for _ in range(BLOCKS):
        found += control.time_us(np.zeros(CONTROL_SHAPE, np.float32), CALLS)
        pause(PAUSE_SECONDS / 4)
    return min(found)


def run_protocol(
    network: Timed,
    image: Array,
    control: Timed,
    *,
    usual_us: float = float("inf"),
    pause: Callable[[float], None] = time.sleep,
) -> tuple[list[list[float]], float, bool]:
    """Samples of every pass, the control's minimum, and whether the two fastest undisturbed passes agree.

    `usual_us` is what the control takes on an undisturbed machine; behind a disturbed pass comes a `pause` (seconds).
    """
    control_image = np.zeros(CONTROL_SHAPE, np.float32)
    network.time_us(image, WARM_UP)
    passes: list[list[float]] = []
    controls_us: list[float] = []
    while len(passes) < MAX_PASSES:
        samples: list[float] = []
        beside: list[float] = []
        for _ in range(BLOCKS):
            samples += network.time_us(image, CALLS)
            beside += control.time_us(control_image, CALLS)
        passes.append(samples)
        controls_us.append(min(beside))
        limit = min(usual_us, *controls_us) * (1 + DISTURBED)
        if agree([min(p) for p, us in zip(passes, controls_us, strict=True) if us <= limit]):
            return passes, min(controls_us), True
        if controls_us[-1] > limit:
            pause(PAUSE_SECONDS)
    return passes, min(controls_us), False


def agree(minima: list[float]) -> bool:
    """Whether the two smallest of the passes' minima lie within the tolerance."""
    if len(minima) < 2:
        return False
    first, second = sorted(minima)[:2]
    return second <= first * (1 + TOLERANCE)
