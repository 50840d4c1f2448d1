"""Parallel coordinates: which axes, which way up, who lies on top."""

import pandas as pd
import pytest

from nas.report.parallel import axes_of, parallel

ROWS = [
    # number, state, accuracy, latency, parameters, bits, blocks
    (0, "COMPLETE", 0.5, 2.0, 1000, 4.0, 3),
    (1, "COMPLETE", 0.9, 1.0, 500, 32.0, 3),
    (2, "COMPLETE", 0.7, 4.0, 2000, None, 3),
    (3, "INFEASIBLE", None, 9.0, 9000, None, None),
    (4, "COMPLETE", 0.6, 3.0, 1500, 8.0, 3),
]


def frame(rows=ROWS):
    columns = ["number", "state", "accuracy", "latency_ms", "parameters", "mean_bits", "blocks"]
    return pd.DataFrame(rows, columns=columns)


def test_axes_are_objectives_then_costs_then_structure():
    keys = [axis.key for axis in axes_of(("latency_ms", "accuracy"))]
    structure = ["blocks", "mean_width", "kept_share", "mean_bits"]
    assert keys == ["latency_ms", "accuracy", "parameters", "macs", *structure]
    axes = {axis.key: axis for axis in axes_of(("accuracy", "latency_ms"))}
    assert [axes[key].upward for key in ("accuracy", "latency_ms", "parameters", "mean_bits")] == [
        True,
        False,
        True,
        True,
    ]
    assert [axes[key].log for key in ("accuracy", "latency_ms", "parameters", "mean_bits")] == [
        False,
        True,
        True,
        False,
    ]
    assert axes_of(("latency_ms@board",))[0].title == "latency on board (ms)"


def test_lines_are_the_complete_trials_and_the_front_lies_on_top():
    found = parallel(frame(), {0}, ("accuracy", "latency_ms"))
    assert [line["trial"] for line in found["lines"]] == [1, 2, 4, 0]
    assert [line["front"] for line in found["lines"]] == [False, False, False, True]
    # blocks never vary, so they are no axis; what was not measured is a gap
    assert [axis["key"] for axis in found["axes"]] == ["accuracy", "latency_ms", "parameters", "mean_bits"]
    assert found["lines"][1]["at"] == [70.0, 4.0, 2000.0, None]


def test_every_axis_spans_what_stands_on_it():
    axes = parallel(frame(), set(), ("accuracy",))["axes"]
    spans = {axis["key"]: (axis["low"], axis["high"], axis["ends"]) for axis in axes}
    assert spans == {
        "accuracy": (50, 90, ["50.0", "90.0"]),
        "parameters": (500, 2000, ["500", "2\u202f000"]),
        "mean_bits": (4, 32, ["4.00", "32.0"]),
    }


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[3:4]])
def test_nothing_to_compare(rows):
    assert parallel(frame(rows), set(), ("accuracy",)) == {"axes": [], "lines": []}
