"""What a sampler is told of an evaluation: values in the order of the objectives, constraints, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.objectives import runs_on, slacks
from nas.records import QUALITIES, Evaluation, State
from nas.run_folder.rows import TrialRow
from nas.study import Study


@dataclass(frozen=True)
class Told:
    """`values` is None where nothing is told of the objectives; constraints are met where zero or less."""

    values: list[float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    pruned: bool = False


def told_of(evaluation: Evaluation, study: Study, rows: Callable[[], Sequence[TrialRow]]) -> Told:
    """INFEASIBLE is COMPLETE to samplers, with what was measured and the worst of what was not.

    Of a cost that is the largest of `rows`, the trials so far.
    """
    values, known = None, evaluation.known
    is_trained = evaluation.state is not State.PRUNED  # what a copy was worth at a rung breaks no limit
    met = slacks(known, study.limits_in(evaluation.phase) if is_trained else study.cost_limits)
    met |= runs_on(known, study.needed_latencies)
    if evaluation.measurement is not None and evaluation.state not in (State.FAILED, State.PRUNED):
        missing = [name for name in study.objectives if name not in known]
        if evaluation.state is State.INFEASIBLE and missing:
            known = {**_worst(missing, rows() if set(missing) - set(QUALITIES) else ()), **known}
        values = [known[name] for name in study.objectives]
    return Told(values, met, pruned=evaluation.state is State.PRUNED)


def _worst(names: Sequence[str], rows: Sequence[TrialRow]) -> dict[str, float]:
    return {
        name: 0.0 if name in QUALITIES else max((row.costs[name] for row in rows if name in row.costs), default=1.0)
        for name in names
    }
