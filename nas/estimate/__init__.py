"""How long a study takes: seconds of a training step by what the network computes, and of the whole by its parts."""

from nas.estimate.candidates import Expected, expected_candidates
from nas.estimate.plan import Plan
from nas.estimate.speed import Known, Line, Speed, Timed, fitted
from nas.estimate.whole import Estimate, Seconds, estimate, estimate_of

__all__ = [
    "Estimate", "Expected", "Known", "Line", "Plan", "Seconds", "Speed", "Timed", "estimate", "estimate_of",
    "expected_candidates", "fitted",
]  # fmt: skip
