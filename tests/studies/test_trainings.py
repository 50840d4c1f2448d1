"""The runner of many trainings: what is done is not done again, what failed is, and figures are those of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas.candidates.candidate import Candidate
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import ResidualConfig

ROOT = Path(__file__).parents[2]
TINY = ("training.epochs=1", "data.train_images=64", "training.batch_size=32")


@pytest.fixture
def trainings(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return benchmark("trainings")


def job(trainings: ModuleType, **fields: Any) -> Any:
    stage = StageConfig(width=8, stride=2, blocks=(ResidualConfig(kind="residual", kernel=3),))
    network = Architecture(input_size=8, input_channels=1, stem=StemConfig(width=8), stages=(stage,), head=None)
    told = {"variant": "v", "candidate": Candidate(architecture=network).to_json(), "seed": 1, "overrides": TINY}
    return trainings.Job(**{**told, "study": str(ROOT / "studies" / "digits.yaml"), **fields})


def test_figures_are_those_of_the_file_and_nothing_is_done_twice(trainings: ModuleType, tmp_path: Path) -> None:
    out, first = tmp_path / "rows.jsonl", job(trainings, stock=True, notes={"size": 8})
    (row,) = trainings.run_all([first], out, processes=1)
    assert row["validation"] == row["torch_validation"]
    assert {"stock_validation", "stock_test", "test", "size_bytes"} <= set(row)
    assert (row["variant"], row["size"], row["epochs"]) == ("v", 8, 1)
    out.write_text(out.read_text() + '{"key": "cut of')
    again = replace(first, variant="renamed")
    assert trainings.run_all([again], out, processes=1) == [{**row, "variant": "renamed"}]
    assert len(out.read_text().splitlines()) == 2


def test_a_line_that_a_kill_cut_short_takes_none_with_it(
    trainings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text('{"key": "cut of')
    monkeypatch.setattr(trainings, "train", lambda _: {"validation": 0.5, "test": 0.5})
    (row,) = trainings.run_all([job(trainings)], out, processes=1)
    assert trainings.rows_of(out).keys() == {row["key"]}


def test_a_training_that_fails_says_why_and_is_tried_again(trainings: ModuleType, tmp_path: Path) -> None:
    out, bad = tmp_path / "rows.jsonl", job(trainings, overrides=(*TINY, "training.learning_rate=1e30"))
    for times in (1, 2):
        assert trainings.run_all([bad], out, processes=1) == []
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(lines) == times
        assert "TrainingDiverged" in lines[-1]["error"]


def test_what_is_trained_makes_the_key(trainings: ModuleType) -> None:
    one = job(trainings)
    assert one.key == replace(one, variant="other", notes={"x": 1}).key
    others = (replace(one, seed=2), replace(one, overrides=()), replace(one, stock=True), replace(one, study="x"))
    assert len({one.key, *(other.key for other in others)}) == 5


def test_none_begins_after_the_deadline(trainings: ModuleType, tmp_path: Path) -> None:
    assert trainings.run_all([job(trainings)], tmp_path / "rows.jsonl", processes=1, minutes=-1) == []
