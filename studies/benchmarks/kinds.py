"""What blocks of each kind pay: accuracies of ladders of networks, beside their milliseconds and bytes.

    python studies/benchmarks/kinds_latency.py --json studies/results/kinds-latency.json
    python studies/benchmarks/kinds.py --data FOLDER --processes 14 --out kinds.jsonl --json studies/results/kinds.json

The networks are those of `ladders.py`, int8 from the quantization-aware stage on: at 32 pixels on 10 000 images of
CIFAR-10, beyond on digits, and at 96 on CIFAR-10 too, scaled up. FOLDER is what study files name $COMPACT_NAS_DATA. A
stopped run goes on where it was. Milliseconds are those that `kinds_latency.py` found, on its own machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladders import TARGETS_BYTES, steps
from rich.console import Console
from rich.table import Table
from trainings import Job, Row, add_options, run_all

LATENCY = Path("studies/results/kinds-latency.json")


@dataclass(frozen=True)
class Trial:
    """On what a ladder is tried: images of a study, their size, and the largest network."""

    images: str
    input_size: int
    study: str
    overrides: tuple[str, ...]
    targets_bytes: tuple[int, ...] = TARGETS_BYTES


CIFAR10 = ("data.train_images=10000", "data.crop_padding=null", "training.learning_rate=0.1")
DIGITS = ("data.channels=3", "training.epochs=20")
TRIALS = (  # the first says most
    Trial("CIFAR-10", 32, "studies/cifar10.yaml", (*CIFAR10, "training.epochs=10")),
    *(Trial("digits", size, "studies/digits.yaml", DIGITS, TARGETS_BYTES[:3]) for size in (64, 96, 128)),
    Trial("CIFAR-10", 96, "studies/cifar10.yaml", (*CIFAR10, "training.epochs=5"), TARGETS_BYTES[:3]),
)


def jobs(trials: Sequence[Trial], seeds: int) -> Iterator[Job]:
    """A training for each network; seeds in turn, so that a run cut short has all of the first."""
    for seed in range(seeds):
        for trial in trials:
            for step in steps(trial.input_size, trial.targets_bytes):
                yield Job(
                    variant=f"{step.name} {trial.images}",
                    candidate=step.candidate.to_json(),
                    seed=seed,
                    overrides=trial.overrides,
                    study=trial.study,
                    notes={
                        "images": trial.images,
                        "ladder": step.ladder,
                        "input_size": step.input_size,
                        "target_bytes": step.target_bytes,
                    },
                )


def joined(rows: Sequence[Row], costs: Sequence[Row]) -> list[Row]:
    """One row for each network and data set: mean accuracies over seeds, and its costs."""
    by_id = {row["candidate"]: row for row in costs}
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row["images"], row["candidate"]), []).append(row)
    kept = ("parameters", "macs", "int8_bytes", "int8_ms", "fp32_ms")
    return [
        {
            **{key: same[0][key] for key in ("images", "input_size", "ladder", "target_bytes")},
            "seeds": len(same),
            **{key: sum(row[key] for row in same) / len(same) for key in ("validation", "test")},
            **{key: by_id[candidate][key] for key in kept if candidate in by_id},
        }
        for (_, candidate), same in found.items()
    ]


def on_front(rows: Sequence[Row], *costs: str) -> list[Row]:
    """Those that no other beats in test accuracy and in all of these costs."""

    def beats(one: Row, other: Row) -> bool:
        no_worse = one["test"] >= other["test"] and all(one[cost] <= other[cost] for cost in costs)
        return no_worse and (one["test"] > other["test"] or any(one[cost] < other[cost] for cost in costs))

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def table_of(rows: Sequence[Row]) -> Table:
    """By images and size; what stands on the front of accuracy and milliseconds is marked, and that of bytes."""
    table = Table(title="Accuracy on test, int8; * on the front of accuracy and the cost")
    for column in ("images", "px", "network", "kB", "test", "bytes", "ms"):
        table.add_column(column, justify="left" if column in ("images", "network") else "right")
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["images"], row["input_size"]), []).append(row)
    for group in groups.values():
        fronts = {
            cost: on_front(group, cost) for cost in ("int8_bytes", "int8_ms") if all(cost in row for row in group)
        }
        for row in group:
            marked = {cost: f"{row[cost]:,.4g}{'*' if row in front else ' '}" for cost, front in fronts.items()}
            table.add_row(
                row["images"], str(row["input_size"]), row["ladder"], str(row["target_bytes"] // 1000),
                f"{row['test']:.2%}", marked.get("int8_bytes", ""), marked.get("int8_ms", ""),
            )  # fmt: skip
        table.add_section()
    return table


def measured(file: Path) -> Mapping[str, Any]:
    """What `kinds_latency.py` wrote; nothing where it has not run."""
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"networks": []}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--latency", type=Path, default=LATENCY, help="what kinds_latency.py wrote")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true", help="two networks, two epochs, 500 images: whether it runs")
    options = parser.parse_args()
    every = list(jobs(TRIALS, options.seeds))
    if options.tiny:
        small = ("training.epochs=2", "search.epochs=null", "data.train_images=500")
        every = [Job(**{**vars(job), "overrides": (*job.overrides, *small)}) for job in (every[0], every[-1])]
    rows = run_all(every, options.out, processes=options.processes, data=options.data, minutes=options.minutes)
    found = joined(rows, measured(options.latency)["networks"])
    Console(width=120).print(table_of(found))
    if options.json:
        options.json.write_text("[\n " + ",\n ".join(map(json.dumps, found)) + "\n]\n")


if __name__ == "__main__":
    main()
