"""Sensitivity scans as plots: a line for each format or ratio, over the layers or channel groups in order."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.run_folder.sensitivity import JSON_FILE, Point, Scan, read_scans

KINDS = (("format", "Weight formats, layer by layer"), ("ratio", "Share of channels removed, group by group"))


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: of which network and which kind of change; `accuracy` without a change, in per cent."""

    trial: str
    candidate_id: str
    title: str
    accuracy: float
    images: int
    lines: tuple[dict[str, Any], ...]


def panels(folder: Path) -> list[Panel]:
    """The plots of a run's scans; none where there is no scan that can be read."""
    try:
        scans = read_scans(folder / JSON_FILE)
    except InputError:
        return []
    return [
        Panel(scan.trial, scan.candidate_id, title, round(100 * scan.accuracy, 4), scan.images, lines)
        for scan in scans for kind, title in KINDS if (lines := tuple(_lines(scan, kind)))
    ]  # fmt: skip


def _lines(scan: Scan, kind: str) -> list[dict[str, Any]]:
    """Name of a value, names of layers (escaped for a plot), and accuracies in per cent."""
    points = [point for point in scan.points if point.kind == kind]
    return [
        _line(str(value), [p for p in points if p.value == value]) for value in dict.fromkeys(p.value for p in points)
    ]


def _line(value: str, points: Sequence[Point]) -> dict[str, Any]:
    names = [html.escape(point.name) for point in points]
    return {"name": html.escape(value), "x": names, "y": [round(100 * point.accuracy, 4) for point in points]}
