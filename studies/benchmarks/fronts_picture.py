"""The fronts of several runs on one picture, with reference networks beside them.

    python studies/benchmarks/fronts_picture.py runs/cifar10 runs/shuffle-cifar10 runs/mixed-cifar10 \
        --references studies/results/cifar10-references.json --out studies/results/cifar10-fronts.png

Test accuracy of the shipped files against their latency and their size, both on logarithmic axes; beside the picture a
CSV file of the same name gets the figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

mpl.use("Agg")
from matplotlib import pyplot as plt

AXES = {"latency_ms": "latency (ms, batch 1, one thread)", "size_bytes": "file size (KB)"}
SCALE = {"latency_ms": 1.0, "size_bytes": 1000.0}
COLUMNS = ["study", "trial", "id", "accuracy", "test_accuracy", "test_accuracy_se", "parameters", *AXES]


def fronts(folders: list[Path]) -> pd.DataFrame:
    frames = [pd.read_csv(folder / "front.csv").assign(study=folder.name) for folder in folders]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def references(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """int8 rows of `stock_references.py`."""
    found = json.loads(file.read_text())
    return [(name, formats["int8"]) for name, formats in found.items() if isinstance(formats, dict)]


def draw(frame: pd.DataFrame, beside: list[tuple[str, dict[str, Any]]], out: Path) -> None:
    figure, plots = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for plot, (axis, label) in zip(plots, AXES.items(), strict=True):
        for marker, (study, rows) in zip("osD^v", frame.groupby("study", sort=False), strict=False):
            plot.errorbar(
                rows[axis] / SCALE[axis], 100 * rows["test_accuracy"], 100 * rows["test_accuracy_se"],
                fmt=marker, capsize=2, label=str(study), markersize=6,
            )  # fmt: skip
        for name, row in beside:
            x, y = row[axis] / SCALE[axis], 100 * row["test_accuracy"]
            plot.plot(x, y, "k*", markersize=11)
            plot.annotate(f"{name}, stock int8", (x, y), textcoords="offset points", xytext=(6, -12), fontsize=8)
        plot.set_xscale("log")
        plot.set_xlabel(label)
        plot.grid(alpha=0.3, which="both")
    plots[0].set_ylabel("test accuracy (%)")
    plots[0].legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    frame = fronts(options.runs)
    draw(frame, references(options.references) if options.references else [], options.out)
    frame.to_csv(options.out.with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main()
