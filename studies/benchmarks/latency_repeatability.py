"""How well latency repeats: do fresh processes rank the same networks alike, and how far apart are their figures?

    python studies/benchmarks/latency_repeatability.py --json latency.json

Networks are drawn from the 32px space with mixed weight formats, built untrained, pruned, quantized and emitted by the
search's own code. Every pass is a process of its own that measures all files in an order of its own with the project's
protocol. That is done on the machine as it is, then beside a process that keeps another core busy.

tau-b is Kendall's, the mean over all pairs of passes; figures less than 2 % apart count as tied. Spread is the
standard deviation of a network's figures over the passes, relative to their mean.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

TIE = 0.02
GOAL_TAU, GOAL_SPREAD = 0.97, 0.02
STUDY = """
name: repeatability
data: {source: digits}
space: {family: mobile, preset: 32px}
compression:
  pruning_ratio: [0.0, 0.25, 0.5, 0.75]
  weight_format: [int2, int4, int8, fp32]
  granularity: block
"""
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


def emit_networks(folder: Path, count: int, seed: int) -> list[Path]:
    """Files of `count` different candidates, as the search emits them before it trains anything."""
    import torch
    from drawing import drawn

    from compressors.pipeline import compress
    from nas.candidates.candidate import Candidate
    from nas.data import load
    from nas.samplers.named import seed_of
    from nas.shipping import ship
    from nas.study.file import load_study
    from nas.training.inference import CalibrationBatches
    from nas.training.pipeline import options_of
    from nas.workbench import Workbench, build

    torch.set_num_threads(1)
    (folder / "study.yaml").write_text(STUDY)
    study = load_study(folder / "study.yaml")
    bench = Workbench(study, load(study.data, input_size=study.space.input_sizes[-1], seed=0))
    candidates: dict[str, Candidate] = {}
    for number in itertools.count():
        if len(candidates) == count:
            break
        candidate = drawn(study, seed_of(seed, number))
        candidates[candidate.id] = candidate
    files = []
    for number, candidate in enumerate(candidates.values()):
        place = folder / f"network-{number}"
        network = build(candidate, bench, seed=seed, dropout=0.0).cpu()
        options = options_of(candidate, study.compression)
        network = compress(network, candidate.plan, options, CalibrationBatches(bench.tiny_feed()), trained=False)
        shipped = ship(network, candidate, place, header=bench.header, targets=[study.target])
        files.append(shipped[study.target.name])
    return files


def measure_pass(files: Sequence[Path], seed: int) -> dict[str, float]:
    """One pass, in this process: milliseconds by file."""
    from nas.measuring.latency import measure
    from nas.study import Target

    order = list(files)
    random.Random(seed).shuffle(order)
    return {str(file): measure(file, Target(name="cpu")).latency_ms for file in order}


def measure_passes(files: Sequence[Path], passes: int, console: Console) -> list[dict[str, float]]:
    """Each pass in a fresh process."""
    found = []
    for seed in range(passes):
        console.print(f"pass {seed + 1} of {passes}", style="dim")
        command = [sys.executable, "-P", __file__, "--measure", str(seed), *map(str, files)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append({name: float(value) for name, value in json.loads(output).items()})
    return found


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that computes without pause; where cores can be chosen, it gets the last and this one the others."""
    neighbour = subprocess.Popen([sys.executable, "-P", "-c", BUSY])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    try:
        if len(cores) > 1:
            os.sched_setaffinity(neighbour.pid, cores[-1:])
            os.sched_setaffinity(0, cores[:-1])
        yield
    finally:
        neighbour.kill()
        neighbour.wait()
        if len(cores) > 1:
            os.sched_setaffinity(0, cores)


def tau_b(first: Sequence[float], second: Sequence[float], tie: float = TIE) -> float:
    """Kendall's tau-b (1945) with values less than `tie` apart, relative to the smaller, tied."""
    concordant = tied_first = tied_second = 0
    pairs = list(itertools.combinations(range(len(first)), 2))
    for i, j in pairs:
        signs = [_order(values[i], values[j], tie) for values in (first, second)]
        concordant += signs[0] * signs[1]
        tied_first += signs[0] == 0
        tied_second += signs[1] == 0
    return concordant / math.sqrt((len(pairs) - tied_first) * (len(pairs) - tied_second))


def _order(a: float, b: float, tie: float) -> int:
    return 0 if abs(a - b) < tie * min(a, b) else (1 if a > b else -1)


def summarise(passes: Sequence[dict[str, float]], files: Sequence[Path]) -> dict[str, float]:
    columns = [[one[str(file)] for file in files] for one in passes]
    taus = [tau_b(a, b) for a, b in itertools.combinations(columns, 2)]
    spreads = [stdev(values) / mean(values) for values in zip(*columns, strict=True)]
    fastest, slowest = min(map(min, columns)), max(map(max, columns))
    return {
        "tau_mean": mean(taus), "tau_min": min(taus), "spread_mean": mean(spreads), "spread_max": max(spreads),
        "fastest_ms": fastest, "slowest_ms": slowest,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs="+", metavar=("SEED", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        seed, *names = arguments.measure
        print(json.dumps(measure_pass([Path(name) for name in names], int(seed))))
        return 0
    table = Table(title=f"{arguments.networks} networks, {arguments.passes} fresh processes each way")
    for column in ("machine", "tau-b mean", "least", "spread mean", "largest", "fastest ms", "slowest ms"):
        table.add_column(column, justify="left" if column == "machine" else "right")
    found, console = dict[str, dict[str, Any]](), Console()
    with tempfile.TemporaryDirectory(prefix="latency-repeatability-") as folder:
        files = emit_networks(Path(folder), arguments.networks, arguments.seed)
        for machine in ("as it is", "another core busy"):
            console.print(f"machine: {machine}", style="dim")
            if machine == "as it is":
                passes = measure_passes(files, arguments.passes, console)
            else:
                with busy_neighbour():
                    passes = measure_passes(files, arguments.passes, console)
            summary = summarise(passes, files)
            columns = [[one[str(file)] for one in passes] for file in files]
            found[machine] = {**summary, "latency_ms": columns}
            taus, spreads = (summary["tau_mean"], summary["tau_min"]), (summary["spread_mean"], summary["spread_max"])
            ends = (summary["fastest_ms"], summary["slowest_ms"])
            cells = [*(f"{v:.3f}" for v in taus), *(f"{v:.2%}" for v in spreads), *(f"{v:.4f}" for v in ends)]
            table.add_row(machine, *cells)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return int(any(s["tau_mean"] < GOAL_TAU or s["spread_mean"] > GOAL_SPREAD for s in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
