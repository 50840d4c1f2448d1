"""The fronts of several runs side by side: one picture, one table, and which reference networks they beat.

    python studies/benchmarks/compare_fronts.py runs/cifar10 runs/shuffle-cifar10 runs/mixed-cifar10 \
        --references studies/results/cifar10-references.json --out studies/results/cifar10-fronts.png

Test accuracy of the shipped files against their latency and their size. Beside the picture a CSV file of the same name
gets the figures, the references' too, with every member's depth in blocks, the share of inner channels that pruning
removed, and the mean bits of its weights; a JSON file says by id what each member is. A reference is beaten by a member
that is at least as accurate, smaller and faster. With `--measure` latencies are measured again, here and now, those of
the references' files too (in the folder where `stock_references.py` left them).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from rich.console import Console
from rich.table import Table
from stock_references import INT8_FILE, MODELS

from nas.candidates.candidate import Candidate
from nas.measuring.latency import measure
from nas.report.picture import log_ticks
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.run_folder.rows import structure_of
from nas.runtimes.runtime import runtime_of
from nas.study import Target
from nas.study.file import load_study

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

AXES = {"latency_ms": "latency (ms, batch 1, one thread)", "size_bytes": "file size (KB)"}
SCALE = {"latency_ms": 1.0, "size_bytes": 1000.0}
FIGURES = ["accuracy", "test_accuracy", "test_accuracy_se", "parameters", *AXES]
STOCK = {"removed": 0.0, "mean_bits": 8.0}  # what a reference's channels and bits are
Reference = dict[str, Any]


def front(folder: RunFolder, *, again: bool) -> pd.DataFrame:
    """A run's front with what its candidates are; latencies measured `again`, or as recorded."""
    frame = pd.read_csv(folder.front)
    places = [folder.path / artifact for artifact in frame["artifact"]]
    if again:
        target = load_study(folder.study).target
        frame["latency_ms"] = [measure(place / runtime_of(target).file_name, target).latency_ms for place in places]
    described = pd.DataFrame([description(place) for place in places])
    return pd.concat([frame[["trial", "id", *FIGURES]], described], axis=1).assign(study=folder.path.name)


def description(place: Path) -> dict[str, float]:
    """Depth in blocks, mean bits of the shipped weights, and the share of inner channels removed, of an artifact."""
    evaluation = read_evaluation(place)
    assert evaluation is not None, f"{place} has no evaluation.json"
    structure, candidate = structure_of(evaluation.layers), candidate_of(place)
    return {"blocks": structure["blocks"], "removed": removed(candidate), "mean_bits": structure["mean_bits"]}


def candidate_of(place: Path) -> Candidate:
    return Candidate.from_json(json.loads((place / "candidate.json").read_text(encoding="utf-8")))


def members(folder: RunFolder) -> dict[str, Any]:
    """What each member of a run's front is, by id."""
    places = [folder.path / artifact for artifact in pd.read_csv(folder.front)["artifact"]]
    return {candidate.id: candidate.to_json() for candidate in map(candidate_of, places)}


def removed(candidate: Candidate) -> float:
    groups, kept = candidate.architecture.groups(), candidate.plan.kept
    inner = sum(group.width for group in groups)
    return 1 - sum(kept.get(group.name, group.width) for group in groups) / inner if inner else 0.0


def references(file: Path, models: Path | None) -> dict[str, Reference]:
    """int8 rows of `stock_references.py` by name; latencies as recorded, or measured again on its `models`."""
    found = {
        name: row["int8"] for name, row in json.loads(file.read_text(encoding="utf-8")).items() if isinstance(row, dict)
    }
    if models is None:
        return found
    target = Target(name="cpu")
    again = {name: measure(models / name / INT8_FILE, target).latency_ms for name in found}
    return {name: {**row, "latency_ms": again[name]} for name, row in found.items()}


def beating(frame: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    """Members at least as accurate on test, smaller and faster than a reference."""
    is_better = (
        (frame["test_accuracy"] >= reference["test_accuracy"])
        & (frame["size_bytes"] < reference["size_bytes"])
        & (frame["latency_ms"] < reference["latency_ms"])
    )
    found: pd.DataFrame = frame.loc[is_better]
    return found


def table_of(frame: pd.DataFrame, beside: dict[str, Reference]) -> Table:
    table = Table(title="Fronts, and references quantized the stock way", box=None)
    for column in ("study", "trial", "test (%)", "params", "ms", "KB", "blocks", "removed (%)", "mean bits"):
        table.add_column(column, justify="left" if column == "study" else "right", no_wrap=column == "study")
    for row in frame.sort_values(["study", "size_bytes"]).to_dict("records"):
        kind = (f"{row['blocks']}", f"{100 * row['removed']:.0f}", f"{row['mean_bits']:.1f}")
        table.add_row(str(row["study"]), str(row["trial"]), *_cells(row), *kind)
    for name, reference in beside.items():
        table.add_row(name, "", *_cells(reference), "", f"{STOCK['removed']:.0f}", f"{STOCK['mean_bits']:.1f}")
    return table


def _cells(row: dict[Any, Any]) -> tuple[str, ...]:
    costs = (f"{row['parameters'] / 1000:.0f}k", f"{row['latency_ms']:.3f}", f"{row['size_bytes'] / 1000:.1f}")
    return (f"{100 * row['test_accuracy']:.2f}", *costs)


@contextmanager
def panels(out: Path) -> Iterator[dict[str, Axes]]:
    """A panel of test accuracy against each of AXES, to be drawn into; labelled and saved at the end."""
    figure, plots = plt.subplots(1, len(AXES), figsize=(11, 4.2), sharey=True)
    yield dict(zip(AXES, plots, strict=True))
    for plot, label in zip(plots, AXES.values(), strict=True):
        log_ticks(plot, plot.xaxis)
        plot.set_xlabel(label)
        plot.grid(alpha=0.3, which="both")
    plots[0].set_ylabel("test accuracy (%)")
    plots[0].legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def draw(frame: pd.DataFrame, beside: dict[str, Reference], out: Path) -> None:
    with panels(out) as plots:
        for axis, plot in plots.items():
            for marker, (study, rows) in zip(cycle("osD^v"), frame.groupby("study", sort=False), strict=False):
                plot.errorbar(
                    rows[axis] / SCALE[axis], 100 * rows["test_accuracy"], 100 * rows["test_accuracy_se"],
                    fmt=marker, capsize=2, label=str(study), markersize=6,
                )  # fmt: skip
            for marker, (name, row) in zip(cycle("*P"), beside.items(), strict=False):
                x, y = row[axis] / SCALE[axis], 100 * row["test_accuracy"]
                plot.plot(x, y, f"k{marker}", markersize=10, linestyle="none", label=f"{name}, stock int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--measure", action="store_true", help="measure all latencies again")
    parser.add_argument("--folder", type=Path, default=MODELS, help="where the references' files are")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folders = [RunFolder(path.resolve()) for path in options.runs]
    frame = pd.concat([front(folder, again=options.measure) for folder in folders], ignore_index=True)
    models = options.folder if options.measure else None
    beside = references(options.references, models) if options.references else {}
    console = Console()
    console.print(table_of(frame, beside))
    for name, reference in beside.items():
        winners = [f"{row.study} {row.trial}" for row in beating(frame, reference).itertuples()]
        console.print(f"{name} is beaten by: {', '.join(winners) or 'none'}")
    draw(frame, beside, options.out)
    rows = pd.DataFrame([{**row, **STOCK, "study": name} for name, row in beside.items()])
    both = pd.concat([frame, rows])[list(frame)].astype({"trial": "Int64", "blocks": "Int64"})
    both.to_csv(options.out.with_suffix(".csv"), index=False)
    known = {member: what for folder in folders for member, what in members(folder).items()}
    options.out.with_suffix(".json").write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
