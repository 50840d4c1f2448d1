"""What an evaluation is held to."""

from __future__ import annotations

import pytest

from nas.evaluate import broken_constraints
from nas.records import Measurement, Phase
from nas.study import Study


@pytest.mark.parametrize(("phase", "bound"), [("search", True), ("final", True), ("reference", False)])
def test_a_constraint_binds_candidates_and_no_reference(phase: Phase, bound: bool) -> None:
    """150 bytes of 100 allowed are half too many, 300 parameters of 300 allowed none."""
    study = Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mobile", "preset": "8px"},
            "constraints": {"size_bytes": {"max": 100.0}, "parameters": {"max": 300.0}},
        }
    )
    measurement = Measurement(
        origin="untrained file", parameters=300, macs=1, size_bytes=150, peak_memory_bytes=1, latency={}
    )
    found = broken_constraints(measurement, study, phase)
    assert found == ({"size_bytes": pytest.approx(0.5)} if bound else {})
