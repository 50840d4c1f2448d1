"""What is certain of a candidate's costs before training where they depend on weights."""

from __future__ import annotations

from nas.candidates.candidate import Candidate
from nas.records import Measurement


def bound_of(candidate: Candidate, num_classes: int) -> Measurement:
    """The least that parameters, MACs and bytes of the candidate's file may come to."""
    least = candidate.least(num_classes)
    return Measurement(
        origin="bound",
        parameters=least.parameters(num_classes),
        macs=least.macs(num_classes),
        size_bytes=max(1, least.weight_bytes(num_classes)),
        peak_memory_bytes=0,
        latency={},
    )
