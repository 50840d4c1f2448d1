"""A front beside ResNet-8 with few bits: the network that no search chose, by the same recipe, epochs and images.

    nas run studies/mixed-cifar10.yaml search.sampler=pareto data.train_images=10000 --out runs/mixed-pareto
    python studies/benchmarks/beside_resnet8.py runs/mixed-pareto --json cifar10-resnet8.json --plot cifar10-resnet8.png

ResNet-8 (He et al.'s for CIFAR, as in MLPerf Tiny, with 1x1 shortcuts) is trained as the run's finalists were, with all
its weights in 8, 4 and 3 bits but for the first and last layer, which keep 8 as in the search. Nothing is pruned. It is
bound by no constraint. All latencies are measured again, one after the other. A killed command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from beside_the_front import Rows, complete_rows, evaluate_all, measured_again, points_of, rows_of
from compare_fronts import SCALE, panels
from rich.console import Console
from rich.table import Table
from stock_references import resnet

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate, canonical
from nas.pareto import non_dominated
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.file import load_recorded
from nas.tasks import Task

FORMATS = ("int8", "int4", "int3")
FIGURES = ("accuracy", "test_accuracy", "size_bytes", "latency_ms")


def resnet8(weight_format: str) -> Candidate:
    """Weights in this format, those of the first and last layer in int8."""
    architecture = resnet(1)
    names = [layer.name for layer in architecture.layers(1)]
    formats: Any = {name: "int8" if name in (names[0], names[-1]) else weight_format for name in names}
    return canonical(Candidate(architecture=architecture, plan=CompressionPlan(formats=formats)))


def tasks_of(folder: RunFolder, study: Study) -> dict[str, Task]:
    """By format; seed and recipe are the finalists'."""
    seed, recipe, found = study.search.seed + 1, study.finals.changes(), dict[str, Task]()
    for number, weight_format in enumerate(FORMATS):
        candidate = resnet8(weight_format)
        place = folder.artifact(candidate.id, "reference", seed, recipe)
        task = Task(number, candidate, "reference", seed, study.final_epochs, place)
        found[weight_format] = replace(task, recipe=recipe, reads_test=True, is_constrained=False)
    return found


def front_of(rows: Rows, objectives: tuple[str, ...]) -> Rows:
    """Rows that no other dominates, the largest first."""
    kept = non_dominated(points_of(rows, objectives))
    return sorted((row for row, stays in zip(rows, kept, strict=True) if stays), key=lambda row: -row["size_bytes"])


def beaten_by(reference: dict[str, Any], rows: Rows) -> list[str]:
    """Ids of rows that are no less accurate on test and smaller."""
    return [
        row["id"] for row in rows
        if row["test_accuracy"] >= reference["test_accuracy"] and row["size_bytes"] < reference["size_bytes"]
    ]  # fmt: skip


def named_rows(folder: RunFolder, study: Study) -> tuple[Rows, Rows]:
    """The run's finalists that are on their front, and ResNet-8 in each format."""
    tasks = tasks_of(folder, study)
    evaluate_all(folder, study, list(tasks.values()))
    names = {task.candidate.id: f"ResNet-8 {weight_format}" for weight_format, task in tasks.items()}
    beside = [{**row, "name": names[row["id"]]} for row in rows_of(list(tasks.values()), study)]
    front = front_of(complete_rows(folder, study, folder.finalists), study.objectives)
    return [{**row, "name": str(row["id"])} for row in front], beside


def table_of(study: Study, front: Rows, beside: Rows) -> Table:
    table = Table(title=f"{study.name}: the front, and ResNet-8 by the same recipe", box=None)
    for column in ("network", "validation (%)", "test (%)", "KB", "ms", "no less accurate and smaller"):
        table.add_column(column, justify="right" if column.endswith(("%)", "KB", "ms")) else "left", no_wrap=True)
    for row in [*front, *beside]:
        accuracies = (f"{100 * row['accuracy']:.2f}", f"{100 * row['test_accuracy']:.2f}")
        winners = ", ".join(beaten_by(row, front)) or "none" if row in beside else ""
        table.add_row(row["name"], *accuracies, f"{row['size_bytes'] / 1000:.1f}", f"{row['latency_ms']:.3f}", winners)
    return table


def draw(front: Rows, beside: Rows, out: Path) -> None:
    with panels(out) as plots:
        for axis, plot in plots.items():
            for rows, marker, name in ((front, "o", "front"), (beside, "k*", "ResNet-8")):
                x, y = [row[axis] / SCALE[axis] for row in rows], [100 * row["test_accuracy"] for row in rows]
                plot.plot(x, y, marker, label=name, linestyle="none")
            for row in beside:
                place = row[axis] / SCALE[axis], 100 * row["test_accuracy"]
                plot.annotate(row["name"].split()[-1], place, xytext=(5, -10), textcoords="offset points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    folder = RunFolder(options.run.resolve())
    study = load_recorded(folder.study)
    front, beside = (measured_again(rows, study) for rows in named_rows(folder, study))
    Console(width=140).print(table_of(study, front, beside))
    if options.plot:
        draw(front, beside, options.plot)
    if options.json:
        shown = [[{key: row[key] for key in ("name", "id", *FIGURES)} for row in rows] for rows in (front, beside)]
        what = {"study": study.name, "epochs": study.final_epochs, "train_images": study.final_images}
        options.json.write_text(json.dumps({**what, "front": shown[0], "resnet8": shown[1]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
