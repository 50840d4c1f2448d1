"""Figures on screens: sensible digits, units, and a dash for what was not measured."""

import math

import pandas as pd
import pytest

from nas.report.figures import accuracy_text, figure, significant


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"), (0.031249, "0.0312"), (3.1, "3.10"), (99.96, "100.0"), (312.4, "312"),
        (4321.9, "4\u202f322"), (-0.25, "-0.250"), (1e-7, "0.000000100"),
    ],
)  # fmt: skip
def test_three_significant_digits_never_an_exponent(value, written):
    assert significant(value) == written


def test_each_figure_takes_the_files_unit_to_the_screens():
    assert figure("accuracy").text(0.9722, unit=True) == "97.2\u00a0%"
    assert figure("size_bytes").text(12_345, unit=True) == "12.3\u00a0KB"
    assert figure("latency_ms").text(0.5, unit=True) == "0.500\u00a0ms"
    assert figure("parameters").text(77_706, unit=True) == "77\u202f706"
    assert figure("macs").text(12.0) == "12"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, pd.NA, ""])
def test_what_was_not_measured_is_a_dash(value):
    assert figure("macs").text(value) == "–"
    assert accuracy_text(value, 0.01) == "–"


def test_an_accuracy_carries_its_standard_error():
    assert accuracy_text(0.9722, 0.01225) == "97.2 ± 1.2"
    assert accuracy_text(0.97224, 0.00041) == "97.22 ± 0.04"
    assert accuracy_text(1.0, 0.0) == "100.0"  # no mistake is no certainty
    assert accuracy_text(0.9722, None) == "97.2"


def test_a_targets_latency_is_named_after_it():
    board = figure("latency_ms@board")
    assert (board.key, board.title) == ("latency_ms@board", "latency on board (ms)")
    assert board.is_cost
    assert not figure("accuracy").is_cost


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match="'speed'"):
        figure("speed")
