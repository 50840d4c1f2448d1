"""A process that measures untrained candidates quickly, for a model of latency: lines of JSON in and out.

In comes one line, a `Job`; out goes a line per candidate, {"number": ..., "latency_ms": {target: ...}}, until the time
is over. A target is left out where its runtime refuses the file or where the machine was disturbed.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from compressors.pipeline import Options, compress
from nas.candidates.candidate import Candidate
from nas.measuring.calibration import Job
from nas.measuring.latency import DISTURBED, settled_us
from nas.measuring.turns import exclusive
from nas.runtimes.runtime import CONTROL_SHAPE, Array, FileHeader, Runner, RuntimeRefused, runtime_of
from nas.study import Target
from search_spaces.building import build_any
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.known import remember_blueprint
from search_spaces.own_kinds import learn_kind

IMAGES = 4
WARM_UP, BLOCKS = 5, 4
BLOCK_SECONDS, LEAST_CALLS, MOST_CALLS = 0.02, 3, 50  # of one block
MOST_PASSES = 3


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides what Ctrl-C means
    torch.set_num_threads(1)
    for line in run(Job.model_validate_json(sys.stdin.readline())):
        print(json.dumps(line), flush=True)


def run(job: Job) -> Iterator[dict[str, Any]]:
    """Measure one candidate after the other until the job's seconds are over."""
    end = time.monotonic() + job.seconds
    if job.blueprint is not None:
        remember_blueprint(Blueprint.from_json(job.blueprint))
    for kind in job.kinds:
        learn_kind(kind)
    meters = {target.name: Meter(target) for target in job.targets}
    for number, told in enumerate(job.candidates):
        if time.monotonic() > end:
            return
        candidate = Candidate.from_json(told)
        latency_ms = measured(candidate, meters, job.num_classes)
        yield {"number": number, "latency_ms": latency_ms}


def measured(candidate: Candidate, meters: Mapping[str, Meter], num_classes: int) -> dict[str, float]:
    """Milliseconds by target. A runtime's file is emitted once for all of its targets."""
    files: dict[str, bytes] = {}
    found = {}
    for name, meter in meters.items():
        runtime = meter.target.runtime
        if runtime not in files:
            files[runtime] = untrained_file(candidate, num_classes, meter.target)
        if (us := meter.least_us(files[runtime])) is not None:
            found[name] = us / 1e3
    return found


def untrained_file(candidate: Candidate, num_classes: int, target: Target) -> bytes:
    """What a target loads of a candidate with random weights, pruned and quantized: latency does not depend on them."""
    architecture = candidate.architecture.untrained()
    channels, size = architecture.input_channels, architecture.input_size
    network = build_any(architecture, num_classes, seed=0)
    images = torch.rand(IMAGES, channels, size, size, generator=torch.Generator().manual_seed(0))
    shape = compress(network, candidate.plan, Options(groups=candidate.groups()), [images], trained=False)
    header = FileHeader(channels, size, tuple(map(str, range(num_classes))))
    return runtime_of(target).emit(shape, header)


@dataclass
class Meter:
    """Measures files on one target beside its control, as the protocol of records does, but with fewer calls."""

    target: Target
    control: Runner = field(init=False)
    usual_us: float = field(init=False)

    def __post_init__(self) -> None:
        runtime, alone = runtime_of(self.target), self.target.model_copy(update={"batch": 1})
        self.control = runtime.open(runtime.control(), alone)
        with exclusive():
            self.usual_us = settled_us(self.control)

    def least_us(self, file: bytes) -> float | None:
        """The least time of a call; None where the runtime refuses the file or no pass was undisturbed."""
        try:
            runner = runtime_of(self.target).open(file, self.target)
            image = np.random.default_rng(0).random((self.target.batch, *runner.input_shape()), dtype=np.float32)
            with exclusive():
                return self._undisturbed(runner, image)
        except RuntimeRefused:
            return None

    def _undisturbed(self, runner: Runner, image: Array) -> float | None:
        once = min(runner.time_us(image, WARM_UP))
        calls = int(np.clip(BLOCK_SECONDS * 1e6 / once, LEAST_CALLS, MOST_CALLS))
        control_image = np.zeros(CONTROL_SHAPE, np.float32)
        for _ in range(MOST_PASSES):
            samples: list[float] = []
            beside: list[float] = []
            for _ in range(BLOCKS):
                samples += runner.time_us(image, calls)
                beside += self.control.time_us(control_image, calls)
            self.usual_us = min(self.usual_us, *beside)
            if min(beside) <= self.usual_us * (1 + DISTURBED):
                return min(samples)
        return None


if __name__ == "__main__":
    main()
