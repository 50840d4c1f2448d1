"""The scale on which objectives are compared."""

from __future__ import annotations

from nas.objectives import as_minimised
from nas.pareto import non_dominated


def test_scale_of_fronts() -> None:
    assert as_minimised("accuracy", 0.75) == as_minimised("macro_f1", 0.75) == 0.25
    assert as_minimised("latency_ms", 1.0) == 0.0
    points = [[as_minimised("accuracy", 0.5), as_minimised("parameters", p)] for p in (10, 20)]
    assert non_dominated(points).tolist() == [True, False]
