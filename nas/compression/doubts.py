"""What a reader of the table has to know besides its figures. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from nas.compression.comparison import Comparison
from nas.records import Evaluation
from nas.report.figures import figure


def doubts_of(comparison: Comparison) -> Iterator[str]:
    """Limits that are broken, flags of the two evaluations, layers that were to run as integers and do not."""
    after = comparison.after
    for name in after.violations:
        known = figure(name)
        limit, found = comparison.limits.get(name), after.known.get(name)
        words = f"{known.text(found, unit=True)} of at most {known.text(limit, unit=True)}"
        yield f"A limit is broken: {known.label} is {words}."
    for when, evaluation in (("before", comparison.before), ("after", after)):
        yield from (f"Flagged {when}: {flag}." for flag in evaluation.flags)
    if floats := in_floats(after):
        named = ", ".join(floats)
        yield f"{len(floats)} of {len(after.asked_integer)} layers with integer weights run in floats: {named}."


def in_floats(evaluation: Evaluation) -> list[str]:
    """Layers with integer weights that the runtime computes in floats."""
    ran = set(evaluation.ran_integer)
    return [name for name in evaluation.asked_integer if name not in ran]
