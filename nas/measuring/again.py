"""A run that goes on on another device: which of its latencies are of another one, and its records with new ones.

What a file computes is not looked at again: accuracies stay those of the device on which they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.measuring.costs import doubts
from nas.measuring.latency import PROTOCOL
from nas.objectives import excesses, limits_words, not_run
from nas.records import UNSTABLE, Evaluation, Fingerprint, Latency, State, floats_at
from nas.study import Study, Target

UNCONSTRAINED = ("repeat", "reference", "rung")  # phases whose evaluations break no limit
FEASIBLE_NOW = "broke a limit where it was measured before, and keeps to all of them here; `nas retry` trains it"


def changes(latency: Latency, here: Fingerprint) -> list[str]:
    """What is different where a latency would be measured now, a line each: `device: a -> b`."""
    protocol = [] if latency.protocol == PROTOCOL else [f"protocol: {latency.protocol} -> {PROTOCOL}"]
    return [*latency.fingerprint.changes_to(here), *protocol]


def outdated(evaluation: Evaluation, targets: Sequence[Target], here: Mapping[str, Fingerprint]) -> tuple[Target, ...]:
    """Targets whose latency was measured elsewhere, or otherwise; `here` are the fingerprints by target."""
    latencies = evaluation.measurement.latency if evaluation.measurement is not None else {}
    return tuple(
        target for target in targets if target.name in latencies and changes(latencies[target.name], here[target.name])
    )


def with_latencies(evaluation: Evaluation, found: Mapping[str, Latency | str], study: Study) -> Evaluation:
    """The record with new latencies by target, or with what a runtime said that refuses the file here.

    Flags, broken limits and the state follow. A candidate that was too slow to be trained and is not any more is
    FAILED, for nothing is known of it; so is one whose file the first target refuses.
    """
    assert evaluation.measurement is not None
    refused = {name: said for name, said in found.items() if isinstance(said, str)}
    if (said := refused.get(evaluation.target)) is not None:
        failed: dict[str, object] = {"state": State.FAILED, "error": "RuntimeRefused", "reason": said}
        return evaluation.model_copy(update={**failed, "measurement": None, "violations": {}})
    kept = {name: latency for name, latency in evaluation.measurement.latency.items() if name not in refused}
    timed = {name: latency for name, latency in found.items() if isinstance(latency, Latency)}
    told = {**evaluation.measurement.refused, **refused}
    measurement = evaluation.measurement.model_copy(update={"latency": {**kept, **timed}, "refused": told})
    own = (flag for flag in evaluation.flags if flag != UNSTABLE and not flag.startswith(floats_at("")))
    flags = tuple(dict.fromkeys((*own, *doubts(measurement, study.targets, evaluation.ran_integer))))
    return judged(evaluation.model_copy(update={"measurement": measurement, "flags": flags}), study)


def judged(evaluation: Evaluation, study: Study) -> Evaluation:
    """The record with the state and the broken limits that its figures come to."""
    if evaluation.state not in (State.COMPLETE, State.INFEASIBLE) or evaluation.phase in UNCONSTRAINED:
        return evaluation
    known = evaluation.known
    broken = excesses(known, study.limits_in(evaluation.phase)) | not_run(known, study.needed_latencies)
    fields: dict[str, object] = {"violations": broken, "state": State.COMPLETE, "reason": "", "error": ""}
    if broken:
        refused = evaluation.measurement.refused if evaluation.measurement is not None else {}
        fields |= {"state": State.INFEASIBLE, "reason": limits_words(broken, known, study.limits, refused)}
    elif evaluation.validation is None:
        fields |= {"state": State.FAILED, "error": "MeasuredAgain", "reason": FEASIBLE_NOW}
    return evaluation.model_copy(update=fields)
