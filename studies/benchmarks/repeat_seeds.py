"""Run a study with several seeds and show the best member of each front: the most accurate on validation.

python studies/benchmarks/repeat_seeds.py studies/digits.yaml --seeds 5 --out runs/seeds --json seeds.json
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def run(study: Path, seed: int, folder: Path) -> dict[str, float]:
    """One whole run in a process of its own; figures of its front."""
    start = time.perf_counter()
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(study), f"search.seed={seed}", "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    with (folder / "front.csv").open(newline="") as file:
        front = list(csv.DictReader(file))
    best = max(front, key=lambda row: float(row["accuracy"]))
    return {
        "seed": seed,
        "seconds": seconds,
        "members": len(front),
        "validation": float(best["accuracy"]),
        "test": float(best["test_accuracy"]),
        "size_bytes": int(best["size_bytes"]),
        "latency_ms": float(best["latency_ms"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="a folder that gets one run folder per seed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"--out: {arguments.out} exists; what is continued there has no time of its own")
    rows = [run(arguments.study, seed, arguments.out / f"seed-{seed}") for seed in range(arguments.seeds)]
    table = Table(title=f"{arguments.study}: the most accurate member of each front")
    for column in ("seed", "seconds", "members", "validation %", "test %", "bytes", "ms"):
        table.add_column(column, justify="right")
    for row in rows:
        accuracies = (f"{100 * row[key]:.2f}" for key in ("validation", "test"))
        table.add_row(
            str(row["seed"]),
            f"{row['seconds']:.0f}",
            str(row["members"]),
            *accuracies,
            f"{row['size_bytes']:,}",
            f"{row['latency_ms']:.4f}",
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
