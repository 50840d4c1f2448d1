"""Rows of the tables: columns, cells, torn files."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import Table, evaluated_row, make_study
from hypothesis import given
from hypothesis import strategies as st

from nas.records import LayerReport
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import (
    STRUCTURE,
    append_row,
    count_rows,
    front_columns,
    structure_of,
    trial_columns,
    write_rows,
)


def test_columns_of_the_tables(folder: RunFolder) -> None:
    study = make_study()
    row = evaluated_row(study, folder)
    for columns in (trial_columns(study), front_columns(study)):
        assert len(set(columns)) == len(columns)
    tests = {"test_accuracy", "test_accuracy_se", "test_balanced_accuracy", "test_macro_f1"}
    assert set(row) - tests <= set(trial_columns(study))
    assert tests <= set(front_columns(study))
    genes = [column.removeprefix("params_") for column in trial_columns(study) if column.startswith("params_")]
    assert genes == [
        "stage1.depth", "stage1.width", "stage1.block1.expansion", "stage1.block2.expansion", "head.width",
        "stem.weight_format", "stage1.weight_format", "head.weight_format", "classifier.weight_format",
    ]  # fmt: skip


def test_cells(folder: RunFolder, tmp_path: Path) -> None:
    study = make_study()
    violations = {"parameters": 0.1, "macs": 1 / 3}
    row = evaluated_row(study, folder, flags=("parity", "x"), violations=violations)
    table = Table(tmp_path / "trials.csv", trial_columns(study))
    write_rows(table.file, table.columns, [row])
    (cells,) = table.read()
    assert list(cells) == table.columns
    for name in ("number", "epochs", "parameters", "size_bytes", "macs", "peak_memory_bytes", "attempts", "seed"):
        assert cells[name] == str(int(row[name]))
    for name in ("fidelity", "accuracy", "accuracy_se", "latency_ms", "seconds"):
        assert float(cells[name]) == row[name]
    assert (cells["seconds"], cells["fidelity"]) == ("0.75", "1.0")
    assert (cells["flags"], cells["violation"]) == ("parity x", "parameters=0.1; macs=0.3333333333333333")
    assert (cells["train_accuracy"], cells["params_stage1.depth"]) == ("", "")
    assert (cells["params_head.width"], cells["artifact"]) == ("16", "artifacts/x")


@given(st.floats(0, 1), st.floats(1e-9, 1e9), st.integers(0, 2**53))
def test_numbers_survive_the_table(tmp_path_factory: pytest.TempPathFactory, a: float, ms: float, count: int) -> None:
    table = Table(tmp_path_factory.getbasetemp() / "numbers.csv", ["accuracy", "latency_ms", "parameters"])
    write_rows(table.file, table.columns, [{"accuracy": a, "latency_ms": ms, "parameters": float(count)}])
    (cells,) = table.read()
    assert (float(cells["accuracy"]), float(cells["latency_ms"]), cells["parameters"]) == (a, ms, str(count))


def test_appended_rows_and_torn_tables(tmp_path: Path) -> None:
    table = Table(tmp_path / "trials.csv", ["number", "reason"])
    assert count_rows(table.file, table.columns) == -1
    write_rows(table.file, table.columns, [])
    for number in range(3):
        append_row(table.file, table.columns, {"number": number, "reason": 'a "b", c\nd', "other": 1})
    assert count_rows(table.file, table.columns) == 3
    assert table.read()[2] == {"number": "2", "reason": 'a "b", c\nd'}
    assert count_rows(table.file, ["number"]) == -1
    whole = table.file.read_bytes()
    table.file.write_bytes(whole[:-1])
    assert count_rows(table.file, table.columns) == -1


def test_structure_is_summed_up_by_hand(folder: RunFolder) -> None:
    def layer(name: str, kind: str, out: int, parameters: int, weight_format: str, unpruned: int | None) -> LayerReport:
        block = name.rpartition(".")[0] or name
        fields = {"in_channels": 1, "kernel": 1, "macs": 0, "ran": "float", "unpruned_channels": unpruned}
        return LayerReport.model_validate(
            {"name": name, "block": block, "kind": kind, "out_channels": out, "parameters": parameters}
            | {"format": weight_format, **fields}
        )

    layers = (
        layer("stem.conv", "conv", 8, 8 + 72, "int8", None),
        layer("stage1.block1.expand", "pointwise", 12, 12 + 100, "int4", 24),
        layer("stage1.block1.project", "pointwise", 10, 10 + 100, "fp32", 10),
        layer("classifier", "linear", 5, 5 + 50, "int2", 5),
    )
    row = evaluated_row(make_study(), folder, layers=layers)
    assert {name: row[name] for name in STRUCTURE} == {
        "blocks": 1,
        "mean_width": 10.0,
        "kept_share": 30 / 42,
        "mean_bits": (72 * 8 + 100 * 4 + 100 * 32 + 50 * 2) / 322,
    }
    assert structure_of(()) == {}
    assert set(STRUCTURE) <= set(trial_columns(make_study()))
