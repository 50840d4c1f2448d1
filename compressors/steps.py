"""The table of compression steps: what each asks of a plan, what may stand before it, and the training behind it.

No torch: a study and a candidate read names and shares here. What a step does to a network is its `method`, imported
when it is first applied.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from compressors.plan import CompressionPlan
from compressors.requests import low_rank, masked, pruned, quantized, removed
from compressors.requests.quantized import DYNAMIC_FORMATS, QUANTIZATIONS, WHOLE_NETWORK, WITHOUT_TRAINING
from compressors.requests.shapes import GroupShape, LayerShape
from compressors.step import ANYTHING, AnythingBut, Retraining, Step

__all__ = [
    "ANYTHING", "DENSE", "DYNAMIC_FORMATS", "FIRST_STAGE", "QUANTIZATIONS", "STEPS", "WHOLE_NETWORK",
    "WITHOUT_TRAINING", "GroupShape", "LayerShape", "Request", "Retraining", "Step", "check_names",
    "depends_on_weights", "least_of", "ordered", "requests_of", "retraining_of", "stage_names",
]  # fmt: skip

FIRST_STAGE = "dense"
_ONCE = "a network is quantized in one way"

# A training begins with this stage, before any step.
DENSE = Retraining(number=0, share=0.5, stops_early=True)

STEPS: dict[str, Step] = {
    "blocks_removed": Step(
        "blocks_removed",
        asked=removed.blocks_asked,
        method="compressors.removal.step:BLOCKS_REMOVED",
        training=Retraining(number=3, share=0.1, peak=0.5),
        reason="what else a plan decides is of the blocks that stay",
    ),
    "activations_removed": Step(
        "activations_removed",
        asked=removed.activations_asked,
        method="compressors.removal.step:ACTIVATIONS_REMOVED",
        training=Retraining(number=4, share=0.1, peak=0.5),
        after=("blocks_removed",),
        reason="which layers are merged depends on their sizes in the network as it is built",
    ),
    "low_rank": Step(
        "low_rank",
        asked=low_rank.asked,
        method="compressors.low_rank.step:LOW_RANK",
        training=Retraining(number=5, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed"),
        reason="a layer is factored as it was trained, whole",
        depends=low_rank.depends,
        written=low_rank.written,
        least=low_rank.least,
    ),
    "pruned": Step(
        "pruned",
        asked=pruned.asked,
        method="compressors.pruning.step:PRUNING",
        training=Retraining(number=1, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed", "low_rank"),
        reason="the channel groups are those of the layers that stay",
        depends=pruned.depends,
        written=pruned.written,
        least=pruned.least,
    ),
    "masked": Step(
        "masked",
        asked=masked.asked,
        method="compressors.masking.step:MASKING",
        training=Retraining(number=6, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed", "low_rank", "pruned"),
        reason="what is asked of single weights is asked of those of the shipped shapes",
        depends=masked.depends,
        written=masked.written,
        least=masked.least,
    ),
    # Without batch norm, where it is folded by then, quantization-aware training bears a tenth of the learning rate.
    "quantized": Step(
        "quantized",
        asked=quantized.asked,
        method="compressors.quantization.step:QUANTIZATION",
        training=Retraining(
            number=2, share=0.3, peak=0.1, ceiling=0.1, in_fp32=True, is_tail=True, with_norms=(0.5, 1.0)
        ),
        after=AnythingBut(*WITHOUT_TRAINING),
        reason=_ONCE,
        shapes_grids=True,
        folds=True,
    ),
    "calibrated": Step(
        "calibrated",
        asked=quantized.static_asked,
        method="compressors.quantization.static:CALIBRATED",
        after=AnythingBut("quantized", "dynamic"),
        reason=_ONCE,
        shapes_grids=True,
        folds=True,
        of_formats=True,
        same_costs=True,
    ),
    "dynamic": Step(
        "dynamic",
        asked=quantized.dynamic_asked,
        method="compressors.quantization.dynamic:DYNAMIC",
        after=AnythingBut("quantized", "calibrated"),
        reason=_ONCE,
        folds=True,
        of_formats=True,
    ),
}


def stage_names() -> tuple[str, ...]:
    """The stages that a training may have: the first, then those of the steps that training follows."""
    return tuple(_stages())


def _stages() -> dict[str, Retraining]:
    return {FIRST_STAGE: DENSE} | {name: step.training for name, step in STEPS.items() if step.training is not None}


def retraining_of(stage: str) -> Retraining:
    """The stage of this name. Raises ValueError where there is no such stage."""
    known = _stages()
    if stage not in known:
        raise ValueError(f"training stage: expected one of {', '.join(known)}, got {stage!r}")
    return known[stage]


@dataclass(frozen=True)
class Request:
    """A step, and the record of what a plan asks of it."""

    step: Step
    record: Any


def requests_of(plan: CompressionPlan) -> tuple[Request, ...]:
    """What a plan asks for, in order of application. Raises ValueError for unknown steps and illegal pairs."""
    check_names(plan.steps)
    records = {name: step.asked(plan) for name, step in STEPS.items()}
    asked = [name for name, record in records.items() if record is not None]
    if ignored := sorted(set(plan.steps) - set(asked)):
        raise ValueError(f"compression steps that read nothing from plan.steps: {', '.join(ignored)}")
    return tuple(Request(STEPS[name], records[name]) for name in ordered(asked))


def depends_on_weights(plan: CompressionPlan) -> bool:
    """Whether what results of a plan is known only when weights are."""
    return any(request.step.depends(request.record) for request in requests_of(plan))


def least_of(plan: CompressionPlan, groups: Sequence[GroupShape], layers: Sequence[LayerShape]) -> CompressionPlan:
    """A plan that depends on no weights and costs no more than whatever results of `plan`."""
    for request in requests_of(plan):
        if request.step.depends(request.record):
            plan = request.step.least(plan, groups, layers)
    return plan


def check_names(names: Collection[str]) -> None:
    """Raises ValueError for names that are no rows of the table."""
    if unknown := sorted(set(names) - set(STEPS)):
        raise ValueError(f"compression steps: expected some of {', '.join(STEPS)}, got {', '.join(unknown)}")


def ordered(names: Collection[str]) -> tuple[str, ...]:
    """The names in an order in which each may follow all before it; the order of the table where there are several.

    Raises ValueError, with the reason, where there is none.
    """
    check_names(names)
    waiting, found = [name for name in STEPS if name in names], list[str]()
    while waiting:
        free = [n for n in waiting if all(n in STEPS[other].after for other in waiting if other != n)]
        if not free:
            raise ValueError(_why_not(waiting))
        found.append(free[0])
        waiting.remove(free[0])
    return tuple(found)


def _why_not(names: Collection[str]) -> str:
    pairs = [
        (one, other) for one in names for other in names
        if one < other and one not in STEPS[other].after and other not in STEPS[one].after
    ]  # fmt: skip
    if not pairs:
        return f"steps {', '.join(names)} have no order in which each may follow those before it"
    one, other = pairs[0]
    return f"steps {one} and {other} cannot be combined: {_rule(STEPS[one])}; {_rule(STEPS[other])}"


def _rule(step: Step) -> str:
    allowed = ", ".join(step.after) or "no other step"
    return f"{step.name} may follow {allowed}" + (f" ({step.reason})" if step.reason else "")
