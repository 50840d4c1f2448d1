"""What the page draws from: hover labels hold every figure, and nothing in them is a tag of the data's own."""

import pytest

from nas.report.figures import figure
from nas.report.payload import hover

AXES = [figure(key) for key in ("accuracy", "latency_ms", "size_bytes")]
EVIL = '<img src=x onerror="alert(1)">&'
ROW = {
    "number": 7, "id": "ab12cd34ef56", "state": "COMPLETE", "reason": "", "flags": "", "accuracy": 0.875,
    "accuracy_se": 0.02, "latency_ms": 0.25, "size_bytes": 12000,
}  # fmt: skip


def test_a_label_holds_all_figures(study):
    label = hover(ROW | {"test_accuracy": 0.75, "test_accuracy_se": 0.03, "flags": "unstable"}, AXES, study)
    assert label.split("<br>") == [
        "<b>trial 7</b>  ab12cd34ef56", "validation 87.5 ± 2.0 %", "test 75.0 ± 3.0 %", "latency 0.250\u00a0ms",
        "file size 12.0\u00a0KB", "unstable",
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["id", "reason", "flags"])
def test_text_out_of_the_tables_is_escaped(study, field):
    """Plotly reads tags in hover labels, and a table may hold anything."""
    label = hover(ROW | {"state": "INFEASIBLE", field: EVIL}, AXES, study)
    assert "<img" not in label
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;" in label


def test_a_target_name_is_escaped(study):
    axes = [figure("latency_ms@a<b>")]
    assert "latency on a&lt;b&gt; 2.00" in hover(ROW | {"latency_ms@a<b>": 2.0}, axes, study)
