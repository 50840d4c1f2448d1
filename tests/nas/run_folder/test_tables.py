"""Tables on disk: cells in full precision, appended rows, torn files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import Table, evaluated_row, make_study
from by_hand import row as make_row
from hypothesis import given
from hypothesis import strategies as st

from nas.run_folder.columns import front_columns, trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import append_row, cells, count_rows, write_rows


def test_cells(folder: RunFolder, tmp_path: Path) -> None:
    study = make_study()
    violations = {"parameters": 0.1, "macs": 1 / 3}
    row = evaluated_row(study, folder, flags=("parity", "x"), violations=violations)
    table = Table(tmp_path / "trials.csv", trial_columns(study))
    write_rows(table.file, table.columns, [row])
    (written,) = table.read()
    assert list(written) == table.columns
    for name in ("number", "epochs", "attempts", "seed"):
        assert written[name] == str(int(getattr(row, name)))
    for name in ("parameters", "size_bytes", "macs", "peak_memory_bytes"):
        assert written[name] == str(int(row.value(name)))
    for name in ("fidelity", "accuracy", "accuracy_se", "seconds"):
        assert float(written[name]) == getattr(row, name)
    assert float(written["latency_ms"]) == row.value("latency_ms")
    assert (written["seconds"], written["fidelity"]) == ("0.75", "1.0")
    assert (written["flags"], written["violation"]) == ("parity x", "parameters=0.1; macs=0.3333333333333333")
    assert (written["train_accuracy"], written["params_stage1.depth"], written["retry_of"]) == ("", "", "")
    assert (written["params_head.width"], written["artifact"]) == ("16", "artifacts/x")


def test_a_finalist_shows_its_search_trial() -> None:
    names = ["trial", "search_accuracy", "accuracy"]
    searched = make_row(7, 0.5, 1, 1)
    assert cells(searched, names) == ["7", "0.5", "0.5"]
    assert cells(replace(searched, number=0, trial=7, accuracy=0.75, search_accuracy=0.5), names) == [
        "7",
        "0.5",
        "0.75",
    ]


def test_epochs_are_whole_unless_patience_ended_a_stage() -> None:
    row = make_row(0, 0.5, 1, 1)
    assert [cells(replace(row, epochs=epochs), ["epochs"]) for epochs in (0.0, 20.0, 7.25)] == [["0"], ["20"], ["7.25"]]


def test_genes_are_written_as_they_are() -> None:
    row = replace(make_row(0, 0.5, 1, 1), params={"a": 0.25, "b": False, "c": "relu", "d": 16, "e": 1e-05})
    assert cells(row, [f"params_{gene}" for gene in "abcdef"]) == ["0.25", "False", "relu", "16", "1e-05", ""]


@given(st.floats(0, 1), st.floats(1e-9, 1e9), st.integers(0, 2**53))
def test_numbers_survive_the_table(tmp_path_factory: pytest.TempPathFactory, a: float, ms: float, count: int) -> None:
    table = Table(tmp_path_factory.getbasetemp() / "numbers.csv", ["accuracy", "latency_ms", "parameters"])
    write_rows(table.file, table.columns, [make_row(0, a, count, 1, latency_ms=ms)])
    (written,) = table.read()
    assert (float(written["accuracy"]), float(written["latency_ms"]), written["parameters"]) == (a, ms, str(count))


def test_appended_rows_and_torn_tables(tmp_path: Path) -> None:
    table = Table(tmp_path / "trials.csv", ["number", "reason"])
    assert count_rows(table.file, table.columns) == -1
    write_rows(table.file, table.columns, [])
    for number in range(3):
        append_row(table.file, table.columns, make_row(number, 0.5, 1, 1, reason='a "b", ü\nd'))
    assert count_rows(table.file, table.columns) == 3
    assert table.read()[2] == {"number": "2", "reason": 'a "b", ü\nd'}
    assert count_rows(table.file, ["number"]) == -1
    whole = table.file.read_bytes()
    table.file.write_bytes(whole[:-1])
    assert count_rows(table.file, table.columns) == -1


def test_a_column_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="column: expected one of the table of columns, got 'speed'"):
        cells(make_row(0, 0.5, 1, 1), [*front_columns(make_study()), "speed"])
