"""What a reader of the table has to know besides its figures. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from nas.compression.comparison import Comparison
from nas.objectives import excesses
from nas.records import QUALITIES, Evaluation
from nas.report.figures import figure


def doubts_of(comparison: Comparison) -> Iterator[str]:
    """Limits that are broken, flags of the two evaluations, layers that were to run as integers and do not."""
    after = comparison.after
    for name in excesses(after.known, comparison.limits):
        known, most = figure(name), "at least" if name in QUALITIES else "at most"
        found, limit = (known.text(values[name], unit=True) for values in (after.known, comparison.limits))
        yield f"A limit is broken: {known.label} is {found} of {most} {limit}."
    for when, evaluation in (("before", comparison.before), ("after", after)):
        yield from (f"Flagged {when}: {flag}." for flag in evaluation.flags)
    if floats := in_floats(after):
        named = ", ".join(floats)
        yield f"{len(floats)} of {len(after.asked_integer)} layers with integer weights run in floats: {named}."


def in_floats(evaluation: Evaluation) -> list[str]:
    """Layers with integer weights that the runtime computes in floats."""
    ran = set(evaluation.ran_integer)
    return [name for name in evaluation.asked_integer if name not in ran]
