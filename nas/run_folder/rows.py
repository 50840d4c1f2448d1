"""Rows of trials.csv, finalists.csv and front.csv: what each column holds, and how the files are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressors.plan import BITS
from nas.candidates.genes import all_genes
from nas.files import write_atomically
from nas.records import COSTS, Evaluation, LayerReport
from nas.study import Study

Row = Mapping[str, Any]
MORE_SCORES = ("balanced_accuracy", "macro_f1", "log_loss")
STRUCTURE = ("blocks", "mean_width", "kept_share", "mean_bits")


def row_of(number: int, evaluation: Evaluation, artifact: str, params: Row, study: Study) -> dict[str, Any]:
    """One evaluation as a flat row. Values stay typed; the writer turns them into text."""
    validation, measurement = evaluation.validation, evaluation.measurement
    row: dict[str, Any] = {
        "number": number,
        "state": str(evaluation.state),
        "reason": evaluation.reason or _violation_text(evaluation.violations),
        "id": evaluation.candidate_id,
        "structure_id": evaluation.structure_id,
        "fidelity": evaluation.fidelity,
        "epochs": evaluation.epochs,
        "accuracy": validation.accuracy if validation else None,
        "accuracy_se": validation.se if validation else None,
        "train_accuracy": evaluation.train_accuracy,
        "violation": dict(evaluation.violations),
        "attempts": evaluation.attempts,
        "seconds": sum(evaluation.seconds.values()) if evaluation.seconds else None,
        "seed": evaluation.seed,
        "started_at": evaluation.started_at,
        "artifact": artifact,
        "flags": list(evaluation.flags),
        "test_accuracy": evaluation.test.accuracy if evaluation.test else None,
        "test_accuracy_se": evaluation.test.se if evaluation.test else None,
        **{name: getattr(validation, name, None) for name in MORE_SCORES},
        "test_balanced_accuracy": evaluation.test.balanced_accuracy if evaluation.test else None,
        "test_macro_f1": evaluation.test.macro_f1 if evaluation.test else None,
    }
    if measurement is not None:
        row |= measurement.costs(evaluation.target)
        row |= {f"latency_ms@{t.name}": measurement.latency[t.name].latency_ms for t in study.targets[1:]}
    return row | structure_of(evaluation.layers) | {f"params_{gene}": value for gene, value in params.items()}


def structure_of(layers: Sequence[LayerReport]) -> dict[str, float]:
    """The shipped network in STRUCTURE's four numbers; nothing where no layers are recorded.

    blocks: those inside stages, named `stage2.block1`. mean_width: output channels per layer, without the classifier's.
    kept_share: channels left by pruning, of all there were. mean_bits: stored bits per weight, biases apart.
    """
    inner = [layer for layer in layers if layer.kind != "linear"]
    weights = [layer.parameters - layer.out_channels for layer in layers]
    if not inner or not sum(weights):
        return {}
    return {
        "blocks": len({layer.block for layer in layers if "." in layer.block}),
        "mean_width": sum(layer.out_channels for layer in inner) / len(inner),
        "kept_share": sum(layer.out_channels for layer in inner)
        / sum(layer.unpruned_channels or layer.out_channels for layer in inner),
        "mean_bits": sum(n * BITS[layer.format] for n, layer in zip(weights, layers, strict=True)) / sum(weights),
    }


def _violation_text(violations: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {excess:.1%} above its limit" for name, excess in violations.items())


def trial_columns(study: Study) -> list[str]:
    """The columns of trials.csv; genes are all that any network may have."""
    return [
        "number", "state", "reason", "id", "structure_id", "fidelity", "epochs", "accuracy", "accuracy_se",
        "train_accuracy", "parameters", "size_bytes", "latency_ms",
        *(f"latency_ms@{target.name}" for target in study.targets[1:]),
        "macs", "peak_memory_bytes", *MORE_SCORES, "violation",
        "attempts", "seconds", "seed", "started_at", "artifact", "flags", "retry_of", *STRUCTURE,
        *(f"params_{gene}" for gene in all_genes(study)),
    ]  # fmt: skip


def front_columns(study: Study) -> list[str]:
    return [
        "trial", "id", "search_accuracy", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se",
        "parameters", "size_bytes", "latency_ms", *(f"latency_ms@{target.name}" for target in study.targets[1:]),
        "macs", "peak_memory_bytes", *MORE_SCORES, "test_balanced_accuracy", "test_macro_f1", "flags", "artifact",
    ]  # fmt: skip


def write_rows(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a whole table, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(_cells(row, columns) for row in rows)
    write_atomically(file, text.getvalue())


def append_row(file: Path, columns: Sequence[str], row: Row) -> None:
    with file.open("a", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerow(_cells(row, columns))


def count_rows(file: Path, columns: Sequence[str]) -> int:
    """Rows of a table, or -1 where the file is missing or has other columns or a torn end."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return -1
    rows = list(csv.reader(io.StringIO(text)))
    return len(rows) - 1 if rows and rows[0] == list(columns) and text.endswith("\n") else -1


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    return [_cell(column, row.get(column)) for column in columns]


def _cell(column: str, value: Any) -> str:
    """Full precision; whole numbers without a decimal point; nothing for what was not measured."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}={excess!r}" for name, excess in value.items())
    if isinstance(value, list):
        return " ".join(value)
    if column in COSTS and column != "latency_ms":
        return str(int(value))
    if isinstance(value, float) and column == "epochs":
        return repr(value).removesuffix(".0")  # whole ones, but where patience ended a phase
    return repr(value) if isinstance(value, float) else str(value)
