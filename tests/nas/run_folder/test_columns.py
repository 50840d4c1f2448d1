"""The table of columns: names and order are those of the files, and each column is read off a row in one way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from by_hand import evaluated_row, make_study

from nas.report.tables import read_trials
from nas.run_folder.columns import (
    COLUMNS,
    COUNT,
    FINALIST_COLUMNS,
    REFERENCE_COLUMNS,
    REPEAT_COLUMNS,
    TRIAL_COLUMNS,
    Column,
    column,
    finalist_columns,
    front_columns,
    kind_of,
    reference_columns,
    trial_columns,
)
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import write_rows
from nas.study import Study, Target

RECORDED = (
    Path(__file__).parent / "headers.txt"
)  # of trials.csv, front.csv and finalists.csv, as version 0.1 wrote them


def two_targets(runtime: str) -> Study:
    study = make_study()
    other = Target(name="board").model_copy(update={"runtime": runtime})
    return study.model_copy(update={"targets": (*study.targets, other)})


def test_columns_of_earlier_versions_are_there_in_their_order() -> None:
    """Columns are only ever added."""
    study = make_study()
    for names, header in zip(
        (trial_columns, front_columns, finalist_columns), RECORDED.read_text().splitlines(), strict=True
    ):
        earlier = header.split(",")
        assert [name for name in names(study) if name in earlier] == earlier


@pytest.mark.parametrize(
    ("runtime", "more"),
    [("onnxruntime", ["latency_ms@board"]), ("openvino", ["size_bytes@board", "latency_ms@board"])],
)
def test_another_target_has_columns_behind_the_same_cost_of_the_first(runtime: str, more: list[str]) -> None:
    plain, study = make_study(), two_targets(runtime)
    for names in (trial_columns, front_columns, finalist_columns):
        assert [name for name in names(study) if "@" not in name] == names(plain)
        assert [name for name in names(study) if "@" in name] == more
        for name in more:
            assert names(study)[names(study).index(name) - 1] == name.partition("@")[0]


def test_every_table_holds_each_column_once_and_knows_it() -> None:
    study = two_targets("openvino")
    for names in (trial_columns(study), front_columns(study), finalist_columns(study), reference_columns(study)):
        assert len(set(names)) == len(names)
        assert all(column(name) is not None for name in names)
    assert set(TRIAL_COLUMNS) | set(FINALIST_COLUMNS) | set(REFERENCE_COLUMNS) == set(COLUMNS)
    assert set(REPEAT_COLUMNS) | set(REFERENCE_COLUMNS) <= set(COLUMNS)


def test_every_value_of_a_row_has_a_column(folder: RunFolder) -> None:
    row = evaluated_row(make_study(), folder)
    known: set[str] = {*trial_columns(make_study()), *front_columns(make_study())}
    assert set(row.to_json()) <= known


def test_another_column_is_one_row(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by the tables and typed by the report's readers, from its row in the table alone."""
    toy = Column("toy", COUNT, lambda row: 2 * row.number)
    monkeypatch.setitem(COLUMNS, "toy", toy)
    column.cache_clear()
    write_rows(tmp_path / "trials.csv", [*trial_columns(make_study()), "toy"], [evaluated_row(make_study(), folder)])
    trials = read_trials(tmp_path)
    assert (str(trials["toy"].dtype), trials["toy"].tolist()) == ("Int64", [6])


def of_kind(names: Iterable[str]) -> set[str]:
    return {kind_of(name).dtype for name in names}


def test_kinds_follow_from_names() -> None:
    assert of_kind(("number", "trial", "macs", "size_bytes@ov", "blocks", "retry_of")) == {"Int64"}
    assert of_kind(("accuracy", "latency_ms", "latency_ms@ov", "epochs", "mean_bits")) == {"float64"}
    assert of_kind(("id", "state", "flags", "violation", "params_head.width", "what nobody knows")) == {"str"}
    assert column("what nobody knows") is None
