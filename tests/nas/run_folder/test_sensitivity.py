"""Scans on disk: written as they grow, read back, and what is none is refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.run_folder.sensitivity import CSV_FILE, JSON_FILE, Point, Scan, read_scans, write_scan


def scan(artifact: str = "artifacts/abc/search-0", **fields: Any) -> Scan:
    given = {
        "trial": "3", "artifact": artifact, "candidate_id": "abc", "candidate": {"schema": 1}, "weights_sha256": "f0",
        "images": 200, "accuracy": 0.9, "genes": {"head.width": "16"},
        "points": (
            Point(kind="format", name="stem.conv", value="int4", accuracy=0.85),
            Point(kind="ratio", name="stage1.block1.inner", value=0.5, accuracy=0.925),
        ),
    }  # fmt: skip
    return Scan.model_validate({**given, **fields})


def test_scans_come_back(tmp_path: Path) -> None:
    assert read_scans(tmp_path / JSON_FILE) == []
    write_scan(tmp_path, scan())
    write_scan(tmp_path, scan("artifacts/def/search-0"))
    assert read_scans(tmp_path / JSON_FILE) == [scan(), scan("artifacts/def/search-0")]


def test_a_scan_takes_the_place_of_an_earlier_one_of_its_network(tmp_path: Path) -> None:
    write_scan(tmp_path, scan())
    write_scan(tmp_path, scan("other"))
    write_scan(tmp_path, scan(points=()))
    assert {one.artifact: len(one.points) for one in read_scans(tmp_path / JSON_FILE)} == {
        "other": 2,
        "artifacts/abc/search-0": 0,
    }


def test_the_table_holds_every_point(tmp_path: Path) -> None:
    write_scan(tmp_path, scan())
    with (tmp_path / CSV_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["trial"], row["id"], row["kind"], row["name"], row["value"]) for row in rows] == [
        ("3", "abc", "format", "stem.conv", "int4"),
        ("3", "abc", "ratio", "stage1.block1.inner", "0.5"),
    ]
    assert [(float(row["accuracy"]), float(row["loss"])) for row in rows] == [(0.85, 0.05), (0.925, -0.025)]


@pytest.mark.parametrize("other", [{"weights_sha256": "00"}, {"images": 100}, {"artifact": "x"}])
def test_other_weights_or_images_make_another_scan(other: dict[str, Any]) -> None:
    assert scan().is_of(scan(points=(), trial="7"))
    assert not scan().is_of(scan(**other))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "scans": [{"trial": "3"}]}', "\0"])
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / JSON_FILE).write_text(text)
    with pytest.raises(InputError, match=r"sensitivity\.json: expected what `nas sensitivity` writes"):
        read_scans(tmp_path / JSON_FILE)


def test_another_schema_is_named(tmp_path: Path) -> None:
    (tmp_path / JSON_FILE).write_text(json.dumps({"schema": 2, "scans": []}))
    with pytest.raises(InputError, match="expected schema 1, got 2"):
        read_scans(tmp_path / JSON_FILE)
