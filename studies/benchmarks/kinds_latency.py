"""What blocks of each kind cost: milliseconds and bytes of ladders of networks, in int8 and in fp32.

    python studies/benchmarks/kinds_latency.py --json studies/results/kinds-latency.json

The networks are those of `ladders.py`, untrained: costs depend on structure alone. All files of an input size are timed
in turn on one thread at batch 1, in eight rounds, and the least time counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladders import CLASSES, STAGES, Step, steps
from rich.console import Console
from rich.table import Table

from nas.candidates.candidate import Candidate
from nas.measuring.latency_benchmark import untrained_file
from nas.measuring.turns import exclusive
from nas.runtimes.cpu import processor
from nas.runtimes.onnxruntime import Runner
from nas.study import Target

TARGET = Target(name="cpu")
ROUNDS, ROUND_SECONDS, LEAST_CALLS, MOST_CALLS = 8, 0.02, 3, 50


def rows_of(every: Sequence[Step], folder: Path) -> list[dict[str, Any]]:
    """Costs of each network; all of one input size."""
    files: dict[tuple[str, str], Path] = {}
    for step in every:
        for weights, candidate in (("int8", step.candidate), ("fp32", as_float(step.candidate))):
            file = folder / f"{len(files)}.onnx"
            file.write_bytes(untrained_file(candidate, CLASSES, TARGET))
            files[step.name, weights] = file
    ms = {name: round(us / 1e3, 5) for name, us in least_us(files, every[0].input_size).items()}
    return [
        {
            "ladder": step.ladder,
            "input_size": step.input_size,
            "target_bytes": step.target_bytes,
            "candidate": step.candidate.id,
            "parameters": step.candidate.parameters(CLASSES),
            "macs": step.candidate.macs(CLASSES),
            **{f"{weights}_bytes": files[step.name, weights].stat().st_size for weights in ("int8", "fp32")},
            **{f"{weights}_ms": ms[step.name, weights] for weights in ("int8", "fp32")},
        }
        for step in every
    ]


def as_float(candidate: Candidate) -> Candidate:
    return Candidate(architecture=candidate.architecture)


def least_us(files: Mapping[Any, Path], size: int) -> dict[Any, float]:
    """Least microseconds of a call of every file, timed in turn."""
    image = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    runners = {name: Runner(file, TARGET) for name, file in files.items()}
    least = {name: min(runner.time_us(image, LEAST_CALLS)) for name, runner in runners.items()}
    for _ in range(ROUNDS):
        with exclusive():
            for name, runner in runners.items():
                calls = int(np.clip(ROUND_SECONDS * 1e6 / least[name], LEAST_CALLS, MOST_CALLS))
                least[name] = min(least[name], *runner.time_us(image, calls))
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    table = Table(title=f"Batch 1, one thread, {processor()[0]}")
    for column in ("network", "parameters", "MACs", "int8 bytes", "int8 ms", "fp32 ms"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for size in options.sizes:
        every = list(steps(size))
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(every, Path(folder))
        found += rows
        for step, row in zip(every, rows, strict=True):
            counts = (f"{row[key]:,}" for key in ("parameters", "macs", "int8_bytes"))
            table.add_row(step.name, *counts, f"{row['int8_ms']:.3f}", f"{row['fp32_ms']:.3f}")
        print(f"{size} pixels done", flush=True)
    Console(width=120).print(table)
    if options.json:
        lines = ",\n ".join(map(json.dumps, found))
        options.json.write_text(f'{{"cpu": {json.dumps(processor()[0])}, "networks": [\n {lines}\n]}}\n')


if __name__ == "__main__":
    main()
