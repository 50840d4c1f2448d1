"""Records of a sensitivity scan: how accurate a trained network stays when one layer alone is pruned or rounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError

from nas.errors import InputError
from nas.files import write_atomically
from nas.records import Count, Fraction, Record

SCHEMA = 1
JSON_FILE, CSV_FILE = "sensitivity.json", "sensitivity.csv"
COLUMNS = ("trial", "id", "kind", "name", "value", "accuracy", "loss")


class Point(Record):
    """Accuracy with one change: this format in layer `name`, or this ratio of channel group `name` removed."""

    kind: Literal["format", "ratio"]
    name: str
    value: str | float
    accuracy: Fraction


class Scan(Record):
    """All points of one trained network, as far as they are there.

    `genes` are those it was drawn by, as a table writes them. `accuracy` is the network's own, in floats, on the same
    `images` validation images; `weights_sha256` says of which weights.
    """

    trial: str
    artifact: str
    candidate_id: str
    candidate: Mapping[str, JsonValue]
    genes: Mapping[str, str] = {}
    weights_sha256: str
    images: Count
    accuracy: Fraction
    points: tuple[Point, ...] = ()

    def loss(self, point: Point) -> float:
        """What the change costs, a fraction; below 0 where it gains."""
        return self.accuracy - point.accuracy

    def is_of(self, other: Scan) -> bool:
        """Whether both look at the same weights with the same images."""
        return (self.artifact, self.weights_sha256, self.images) == (
            other.artifact, other.weights_sha256, other.images,
        )  # fmt: skip


def read_scans(file: Path) -> list[Scan]:
    """The scans of a file, none where it is not there. Raises InputError where it holds something else."""
    if not file.exists():
        return []
    try:
        content = json.loads(file.read_bytes())
        if content["schema"] != SCHEMA:
            raise InputError(f"{file}: expected schema {SCHEMA}, got {content['schema']!r}")
        return [Scan.model_validate(scan) for scan in content["scans"]]
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        raise InputError(f"{file}: expected what `nas sensitivity` writes, got something else") from None


def write_scan(folder: Path, scan: Scan) -> None:
    """Write a scan, in the place of an earlier one of the same network, as JSON and as a table."""
    others = [other for other in read_scans(folder / JSON_FILE) if other.artifact != scan.artifact]
    scans = [*others, scan]
    content = {"schema": SCHEMA, "scans": [one.model_dump(mode="json") for one in scans]}
    write_atomically(folder / JSON_FILE, json.dumps(content, indent=1))
    write_atomically(folder / CSV_FILE, _table(scans))


def _table(scans: Sequence[Scan]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row for scan in scans for row in _rows(scan))
    return text.getvalue()


def _rows(scan: Scan) -> Iterator[tuple[str, ...]]:
    for point in scan.points:
        figures = f"{point.accuracy:.6g}", f"{scan.loss(point):.6g}"
        yield (scan.trial, scan.candidate_id, point.kind, point.name, str(point.value), *figures)
