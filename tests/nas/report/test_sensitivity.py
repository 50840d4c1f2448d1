"""Scans in the report: a line for each value, names escaped, and nothing where there is no scan."""

from __future__ import annotations

from pathlib import Path

from nas.report.sensitivity import panels
from nas.run_folder.sensitivity import JSON_FILE, Point, Scan, write_scan


def scan(*points: Point) -> Scan:
    return Scan(
        trial="3", artifact="a", candidate_id="abc", candidate={}, weights_sha256="", images=200, accuracy=0.905,
        points=points,
    )  # fmt: skip


def test_a_line_for_each_value(tmp_path: Path) -> None:
    points = [
        Point(kind="format", name=name, value=value, accuracy=accuracy)
        for name, value, accuracy in (
            ("a", "int8", 0.9),
            ("a", "int4", 0.8),
            ("b<b>", "int8", 0.7),
            ("b<b>", "int4", 0.6),
        )
    ]
    write_scan(tmp_path, scan(*points, Point(kind="ratio", name="g", value=0.5, accuracy=0.5)))
    formats, ratios = panels(tmp_path)
    assert formats.lines == (
        {"name": "int8", "x": ["a", "b&lt;b&gt;"], "y": [90.0, 70.0]},
        {"name": "int4", "x": ["a", "b&lt;b&gt;"], "y": [80.0, 60.0]},
    )
    assert (formats.accuracy, formats.images, formats.trial) == (90.5, 200, "3")
    assert ratios.lines == ({"name": "0.5", "x": ["g"], "y": [50.0]},)


def test_without_a_scan_there_is_nothing(tmp_path: Path) -> None:
    assert panels(tmp_path) == []
    (tmp_path / JSON_FILE).write_text("broken")
    assert panels(tmp_path) == []
    (tmp_path / JSON_FILE).unlink()
    write_scan(tmp_path, scan())  # begun, without a point yet
    assert panels(tmp_path) == []
