"""The picture at the head of the README is what its script draws, and is whole."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = runpy.run_path(str(STUDIES / "overview.py"))


def test_the_picture_in_the_repository_is_drawn_by_the_script() -> None:
    drawn = NAMES["overview"](NAMES["points_of"](NAMES["FRONT"]))
    assert (STUDIES / "results" / "overview.svg").read_text(encoding="utf-8") == drawn
    assert ET.fromstring(drawn).attrib["aria-label"]


def test_what_another_dominates_is_not_drawn_and_the_rest_lies_within_the_axes() -> None:
    """Cost by its logarithm: the second of three decades lies in the middle."""
    left, top, width, height = NAMES["PLOT"]
    places = list(NAMES["scaled"]([(10, 0.5), (1000, 0.9), (100, 0.7), (500, 0.6)]))
    assert len(places) == 3
    assert places[1][0] == pytest.approx((places[0][0] + places[2][0]) / 2)
    assert all(left < x < left + width and top < y < top + height for x, y in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
