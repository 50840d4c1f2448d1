"""What a plan asks of pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compressors.budgets import Budget, budget_of, fewest
from compressors.plan import CompressionPlan
from compressors.requests.shapes import GroupShape, LayerShape

STEP = "pruned"


@dataclass(frozen=True)
class Prune:
    """Channel group -> channels kept; or a budget for the network, as long as weights are not real."""

    kept: Mapping[str, int]
    budget: Budget | None = None


def asked(plan: CompressionPlan) -> Prune | None:
    """Channels kept by group, or a budget. Raises ValueError for both, and for what is no budget."""
    budget = budget_of(plan.steps.get(STEP, {}))
    if budget is not None and plan.kept:
        raise ValueError("pruned: expected channels kept by group or a budget for the network, got both")
    return Prune(plan.kept, budget) if plan.kept or budget is not None else None


def depends(record: Prune) -> bool:
    """Whether it depends on weights how many channels a group loses."""
    return record.budget is not None


def written(plan: CompressionPlan, record: Prune) -> CompressionPlan:
    """The plan with a count for every group that is cut in the place of a budget."""
    kept = dict(sorted(record.kept.items()))
    return plan.with_step(STEP, {}).model_copy(update={"kept": kept})


def least(plan: CompressionPlan, groups: Sequence[GroupShape], _: Sequence[LayerShape]) -> CompressionPlan:
    """The plan in which every group has as few channels as any way to share out the budget leaves it."""
    record = asked(plan)
    if record is None or record.budget is None:
        return plan
    return written(plan, Prune(fewest(record.budget.among(groups), record.budget)))
