"""The table of compression steps: what each asks of a plan, what may stand before it, and the training behind it.

No torch: a study and a candidate read names and shares here. What a step does to a network is its `method`, imported
when it is first applied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from compressors.budgets import Budget, budget_of, fewest
from compressors.low_rank.factoring import Factoring, factoring_of
from compressors.masking import request as masking
from compressors.plan import CompressionPlan

FIRST_STAGE = "dense"


@dataclass(frozen=True)
class LowRank:
    """Layer -> how it is factored; channel group -> channels kept later, since ranks are those of what is shipped.

    `widths_are_known`: whether it is known which channels are kept, and does not depend on weights.
    """

    layers: Mapping[str, Factoring]
    kept: Mapping[str, int] = field(default_factory=dict)
    widths_are_known: bool = True


@dataclass(frozen=True)
class Prune:
    """Channel group -> channels kept; or a budget for the network, as long as weights are not real."""

    kept: Mapping[str, int]
    budget: Budget | None = None


@dataclass(frozen=True)
class Quantize:
    """Layer -> weight format, none of them fp32."""

    formats: Mapping[str, str]


@dataclass(frozen=True)
class RemoveBlocks:
    """Blocks, by name, whose skip is all that is left of them."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class RemoveActivations:
    """Blocks, by name, whose activations go."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Calibrate:
    """Layer -> weight format, none of them fp32, of a network that is not trained with its rounding."""

    formats: Mapping[str, str]


@dataclass(frozen=True)
class QuantizeDynamically:
    """Linear layer -> int8: its inputs are put on a grid of their own range, image by image, when the network runs."""

    formats: Mapping[str, str]


@dataclass(frozen=True)
class Retraining:
    """A stage of training, and what differs in it.

    number: seeds its epochs; no two stages have the same. share: its default share of the whole training.
    peak: its largest learning rate as a fraction of the first stage's, where each stage has its own schedule.
    ceiling: the same fraction where one schedule runs over all stages; the schedule's rate is cut there.
    is_tail: whether it may follow a schedule that is over by then, with its own `peak`.
    with_norms: what replaces peak and ceiling where batch norm is alive in a stage that otherwise has none.
    in_fp32: whether it trains in fp32 whatever the study says. stops_early: whether `patience` may end it.
    """

    number: int
    share: float
    peak: float = 1.0
    ceiling: float = 1.0
    in_fp32: bool = False
    stops_early: bool = False
    is_tail: bool = False
    with_norms: tuple[float, float] | None = None


class AnythingBut(Collection[str]):
    """Every name but some."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __contains__(self, name: object) -> bool:
        return name not in self._names

    def __iter__(self) -> Iterator[str]:
        return iter((f"anything but {' and '.join(self._names)}" if self._names else "anything",))

    def __len__(self) -> int:
        return 1


ANYTHING: Collection[str] = AnythingBut()


class GroupShape(Protocol):
    """A channel group before any compression."""

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...


class LayerShape(Protocol):
    """A convolution or linear layer before any compression; `kind` is conv, depthwise, pointwise or linear."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def in_channels(self) -> int: ...

    @property
    def out_channels(self) -> int: ...

    @property
    def weight_count(self) -> int: ...


Least = Callable[[CompressionPlan, Sequence[GroupShape], Sequence[LayerShape]], CompressionPlan]


def _never(_: Any) -> bool:
    return False


def _as_asked(plan: CompressionPlan, *_: Any) -> CompressionPlan:
    return plan


@dataclass(frozen=True)
class Step:
    """One row: a way of making a network smaller.

    asked: plan -> the frozen record of what it asks for, None: nothing. method: a compressors.pipeline.Method, or where
    one is, as `module:attribute`. training: the stage that follows it, None: the step needs none, or the next one's
    is enough. after: the steps that may have been applied before it; `reason` says why no others.
    shapes_grids: its `settle` is needed by an untrained network as well, which has no range or scale without it.
    folds: batch norm is folded when it is done. of_formats: it says how formats are brought about, and does nothing
    where all are fp32. same_costs: all costs are those of the plan without it.

    What a record asks for may depend on weights: `depends` says of a record whether it does. Its method then resolves
    it, once weights are real, to a record that says what results; `written` puts that into a plan in the place of the
    request. `least` makes of such a plan, for a network of these shapes, one that costs no more than whatever results.
    """

    name: str
    asked: Callable[[CompressionPlan], Any]
    method: Any
    training: Retraining | None = None
    after: Collection[str] = ()
    reason: str = ""
    shapes_grids: bool = False
    folds: bool = False
    of_formats: bool = False
    same_costs: bool = False
    depends: Callable[[Any], bool] = _never
    written: Callable[[CompressionPlan, Any], CompressionPlan] = _as_asked
    least: Least = _as_asked

    def loaded(self) -> Any:
        """The method, imported."""
        if isinstance(self.method, str):
            module, _, attribute = self.method.partition(":")
            return getattr(import_module(module), attribute)
        return self.method


def _low_rank(plan: CompressionPlan) -> LowRank | None:
    layers = {layer: factoring_of(layer, given) for layer, given in plan.steps.get("low_rank", {}).items()}
    return LowRank(layers, plan.kept, "pruned" not in plan.steps) if layers else None


def _rank_depends(record: LowRank) -> bool:
    """A rank that a shape tells depends on weights as well where widths do."""
    if not record.widths_are_known:
        return not all(asked.settled for asked in record.layers.values())
    return any(asked.depends_on_weights for asked in record.layers.values())


def _low_rank_written(plan: CompressionPlan, record: LowRank) -> CompressionPlan:
    return _with_factorings(plan, record.layers)


def _least_rank(plan: CompressionPlan, *_: Any) -> CompressionPlan:
    asked = _low_rank(plan)
    return _with_factorings(plan, {} if asked is None else {name: one.least() for name, one in asked.layers.items()})


def _with_factorings(plan: CompressionPlan, layers: Mapping[str, Factoring]) -> CompressionPlan:
    others = {name: decisions for name, decisions in plan.steps.items() if name != "low_rank"}
    decisions = {name: asked.decision() for name, asked in layers.items()}
    return plan.model_copy(update={"steps": others | ({"low_rank": decisions} if decisions else {})})


def _prune(plan: CompressionPlan) -> Prune | None:
    budget = budget_of(plan.steps.get("pruned", {}))
    if budget is not None and plan.kept:
        raise ValueError("pruned: expected channels kept by group or a budget for the network, got both")
    return Prune(plan.kept, budget) if plan.kept or budget is not None else None


def _kept(plan: CompressionPlan, record: Prune) -> CompressionPlan:
    """The plan with a count for every group that is cut in the place of a budget."""
    steps = {name: decisions for name, decisions in plan.steps.items() if name != "pruned"}
    return plan.model_copy(update={"kept": dict(sorted(record.kept.items())), "steps": steps})


def _fewest(plan: CompressionPlan, groups: Sequence[GroupShape], _: Sequence[LayerShape]) -> CompressionPlan:
    """The plan in which every group has as few channels as any way to share out the budget leaves it."""
    record = _prune(plan)
    if record is None or record.budget is None:
        return plan
    return _kept(plan, Prune(fewest(record.budget.among(groups), record.budget)))


def _quantize(plan: CompressionPlan) -> Quantize | None:
    formats = _integers(plan)
    return Quantize(formats) if formats and not any(name in plan.steps for name in WITHOUT_TRAINING) else None


def _remove_blocks(plan: CompressionPlan) -> RemoveBlocks | None:
    blocks = _named("blocks_removed", plan)
    return RemoveBlocks(blocks) if blocks else None


def _remove_activations(plan: CompressionPlan) -> RemoveActivations | None:
    blocks = _named("activations_removed", plan)
    return RemoveActivations(blocks) if blocks else None


def _named(step: str, plan: CompressionPlan) -> tuple[str, ...]:
    """The names of a step that knows no more of each than that it is meant. Raises ValueError for anything else."""
    decisions = plan.steps.get(step, {})
    for name, value in decisions.items():
        if value is not True:
            raise ValueError(f"plan.steps.{step}.{name}: expected true, or no such key, got {value!r}")
    return tuple(decisions)


def _calibrate(plan: CompressionPlan) -> Calibrate | None:
    return Calibrate(_integers(plan)) if _is_asked(plan, "calibrated") else None


def _quantize_dynamically(plan: CompressionPlan) -> QuantizeDynamically | None:
    if not _is_asked(plan, "dynamic"):
        return None
    formats = _integers(plan)
    for layer in (layer for layer, fmt in formats.items() if fmt not in DYNAMIC_FORMATS):
        raise ValueError(f"step dynamic: expected {' or '.join(DYNAMIC_FORMATS)} for {layer}, got {formats[layer]}")
    return QuantizeDynamically(formats)


def _integers(plan: CompressionPlan) -> dict[str, str]:
    return {layer: fmt for layer, fmt in plan.formats.items() if fmt != "fp32"}


def _is_asked(plan: CompressionPlan, name: str) -> bool:
    """Whether a plan asks for a step of the whole network that is told nothing further."""
    decisions = dict(plan.steps.get(name, {}))
    if decisions and decisions != WHOLE_NETWORK:
        raise ValueError(f"plan.steps.{name}: expected {WHOLE_NETWORK}, got {decisions}")
    return bool(decisions) and bool(_integers(plan))


WHOLE_NETWORK: Mapping[str, bool] = {"network": True}  # the decisions of a step that is told nothing further
# How formats are brought about -> the step; `aware` is what a plan without any of the steps asks for.
QUANTIZATIONS: Mapping[str, str] = {"aware": "quantized", "static": "calibrated", "dynamic": "dynamic"}
WITHOUT_TRAINING = ("calibrated", "dynamic")
DYNAMIC_FORMATS = ("fp32", "int8")
_ONCE = "a network is quantized in one way"

# A training begins with this stage, before any step.
DENSE = Retraining(number=0, share=0.5, stops_early=True)

STEPS: dict[str, Step] = {
    "blocks_removed": Step(
        "blocks_removed",
        asked=_remove_blocks,
        method="compressors.removal.step:BLOCKS",
        training=Retraining(number=3, share=0.1, peak=0.5),
        reason="what else a plan decides is of the blocks that stay",
    ),
    "activations_removed": Step(
        "activations_removed",
        asked=_remove_activations,
        method="compressors.removal.step:ACTIVATIONS",
        training=Retraining(number=4, share=0.1, peak=0.5),
        after=("blocks_removed",),
        reason="which layers are merged depends on their sizes in the network as it is built",
    ),
    "low_rank": Step(
        "low_rank",
        asked=_low_rank,
        depends=_rank_depends,
        written=_low_rank_written,
        least=_least_rank,
        method="compressors.low_rank.step:LOW_RANK",
        training=Retraining(number=5, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed"),
        reason="a layer is factored as it was trained, whole",
    ),
    "pruned": Step(
        "pruned",
        asked=_prune,
        method="compressors.pruning.step:PRUNING",
        training=Retraining(number=1, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed", "low_rank"),
        reason="the channel groups are those of the layers that stay",
        depends=lambda record: record.budget is not None,
        written=_kept,
        least=_fewest,
    ),
    "masked": Step(
        "masked",
        asked=masking.asked,
        method="compressors.masking.step:MASKING",
        training=Retraining(number=6, share=0.2, peak=0.5),
        after=("blocks_removed", "activations_removed", "low_rank", "pruned"),
        reason="what is asked of single weights is asked of those of the shipped shapes",
        depends=masking.depends,
        written=masking.written,
        least=masking.least,
    ),
    # Without batch norm, where it is folded by then, quantization-aware training bears a tenth of the learning rate.
    "quantized": Step(
        "quantized",
        asked=_quantize,
        method="compressors.quantization.step:QUANTIZATION",
        training=Retraining(
            number=2, share=0.3, peak=0.1, ceiling=0.1, in_fp32=True, is_tail=True, with_norms=(0.5, 1.0)
        ),
        after=AnythingBut("calibrated", "dynamic"),
        reason=_ONCE,
        shapes_grids=True,
        folds=True,
    ),
    "calibrated": Step(
        "calibrated",
        asked=_calibrate,
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
        asked=_quantize_dynamically,
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
