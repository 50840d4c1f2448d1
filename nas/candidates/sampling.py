"""How a candidate is drawn: the architecture first, then the decisions of its compression plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from compressors.budgets import own_grid
from compressors.formats import BITS, WeightFormat
from compressors.plan import NETWORK, CompressionPlan, kept_channels
from compressors.steps import QUANTIZATIONS, WHOLE_NETWORK, WITHOUT_TRAINING, requests_of
from nas.candidates.candidate import Candidate, effective
from nas.candidates.drawing_steps import draw_each, scope_of
from nas.candidates.low_rank import draw_low_rank
from nas.candidates.masking import draw_masks
from nas.candidates.removing import gone_from, removable_activations, removable_block
from nas.candidates.shaping import with_effects
from nas.study import Compression, Study
from search_spaces.layers import ChannelGroup
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike, SpaceLike
from search_spaces.sites import BlockSite
from search_spaces.trials import Trial, ask

QUANTIZATION = "training.quantization"  # the gene, by its key in a study


class Draw(Protocol):
    """Draws decisions by name of a layer or channel group; channels stay multiples of `grid`."""

    def __call__(
        self, trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
    ) -> Mapping[str, Any]: ...


def sample_of(trial: Trial, study: Study, space: SpaceLike | None = None) -> Candidate:
    """Draw one candidate of a study, or of a part of its space."""
    return sample(
        trial,
        space or study.space,
        study.compression,
        input_channels=study.data.input_channels,
        quantization=study.training.quantizations,
    )


def sample(
    trial: Trial,
    space: SpaceLike,
    compression: Compression,
    *,
    input_channels: Literal[1, 3],
    quantization: Sequence[str] = ("aware",),
) -> Candidate:
    """Draw one candidate in canonical form. A gene with a single choice is not asked for."""
    architecture = space.sample(trial, input_channels=input_channels)
    drawn = {name: draw(trial, architecture, compression, grid=space.width_grid) for name, draw in DRAWS.items()}
    way = ask(trial, QUANTIZATION, quantization)
    widths = {group.name: group.width for group in prunable_groups(architecture, compression)}
    plan = quantized_by(way, _plan_of(drawn), architecture)
    plan = effective(plan, widths, gone_from(architecture, plan.steps))
    if plan.steps:
        plan = with_effects(plan, architecture)
        requests_of(plan)
    return Candidate.model_construct(architecture=architecture, plan=plan)


def _plan_of(drawn: Mapping[str, Mapping[str, Any]]) -> CompressionPlan:
    """A plan whose fields are what was drawn under their names; all else are decisions of the steps so named.

    Built without validation, like the architecture: a draw only makes what is valid.
    """
    drawn = {name: decisions for name, decisions in drawn.items() if decisions}
    steps = {name: decisions for name, decisions in drawn.items() if name not in CompressionPlan.model_fields}
    if steps:
        steps = dict(CompressionPlan(steps=steps).steps)
    kept, formats = (dict(sorted(drawn.get(name, {}).items())) for name in ("kept", "formats"))
    return CompressionPlan.model_construct(kept=kept, formats=formats, steps=steps)


def quantized_by(way: str, plan: CompressionPlan, architecture: ArchitectureLike) -> CompressionPlan:
    """The plan with its formats brought about in this way: dynamically only those of linear layers."""
    step = QUANTIZATIONS[way]
    if step not in WITHOUT_TRAINING:
        return plan
    formats = dict(plan.formats)
    if step == "dynamic":
        linear = {layer.name for layer in architecture.layers(1) if layer.kind == "linear"}
        formats = {name: fmt for name, fmt in formats.items() if name in linear}
    steps = dict(sorted({**plan.steps, step: dict(WHOLE_NETWORK)}.items()))
    return CompressionPlan.model_construct(kept=plan.kept, formats=formats, steps=steps)


def draw_kept(trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int) -> dict[str, int]:
    """Channels left of every group that is pruned."""
    kept: dict[str, int] = {}
    if compression.pruning_scope == "global":
        return kept
    for group in prunable_groups(architecture, compression):
        gene = f"{scope_of(group.block, group.block, compression)}.pruning_ratio"
        ratio = ask(trial, gene, compression.pruning_ratio)
        kept[group.name] = kept_channels(group.width, ratio, own_grid(grid, group.unit))
    return kept


def draw_budget(trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int) -> dict[str, Any]:
    """One ratio for the channels of the whole network, which is shared out when weights are real."""
    groups = prunable_groups(architecture, compression)
    if compression.pruning_scope != "global" or not groups:
        return {}
    ratio = ask(trial, "network.pruning_ratio", compression.pruning_ratio)
    if not ratio:
        return {}
    budget: dict[str, Any] = {"ratio": ratio, "grid": grid}
    if not compression.stage_widths:
        budget["groups"] = [group.name for group in groups]
    return {NETWORK: budget}


def draw_formats(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
) -> dict[str, WeightFormat]:
    """The weight format of every layer."""
    parts, by_layer = architecture.parts(1), compression.granularity == "layer"
    formats: dict[str, WeightFormat] = {}
    for part in parts:
        layers = [layer for layer in part.layers if not layer.runs_again]  # which has one input's range too many
        for shared in ([layer] for layer in layers) if by_layer else filter(None, (layers,)):
            gene = f"{scope_of(shared[0].name, part.name, compression)}.weight_format"
            drawn = _format(trial, gene, compression, protect=part.is_edge)
            formats |= {layer.name: drawn for layer in shared}
    return formats


def draw_removed_blocks(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
) -> Mapping[str, Any]:
    """The blocks that go, of those with a skip."""
    choices = compression.remove_blocks
    return _of_blocks(trial, architecture, compression, key="remove_blocks", choices=choices, may_go=removable_block)


def draw_removed_activations(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
) -> Mapping[str, Any]:
    """The blocks whose activations go."""
    choices, may_go = compression.remove_activations, removable_activations
    return _of_blocks(trial, architecture, compression, key="remove_activations", choices=choices, may_go=may_go)


def _of_blocks(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, key: str, choices: Sequence[bool],
    may_go: Callable[[BlockSite | None], bool],
) -> Mapping[str, Any]:  # fmt: skip
    """True for each block for which a gene says so."""
    if not any(choices):
        return {}

    def names(part: Part) -> list[str]:
        return [part.name] if may_go(part.site) else []

    return draw_each(trial, architecture, compression, key=key, choices=choices, names=names)


# What is drawn, in this order: a field of a plan, or a row of STEPS in compressors.steps that reads `plan.steps`.
DRAWS: dict[str, Draw] = {
    "kept": draw_kept,
    "formats": draw_formats,
    "pruned": draw_budget,
    "masked": draw_masks,
    "blocks_removed": draw_removed_blocks,
    "activations_removed": draw_removed_activations,
    "low_rank": draw_low_rank,
}


def prunable_groups(architecture: ArchitectureLike, compression: Compression) -> tuple[ChannelGroup, ...]:
    """The groups a study prunes: inner widths, and where it says so the widths between blocks."""
    return architecture.all_groups() if compression.stage_widths else architecture.groups()


def edge_formats(compression: Compression) -> tuple[WeightFormat, ...]:
    """Formats the first and last layer may take, each once."""
    if compression.edges_below_int8:
        return compression.weight_format
    return tuple(dict.fromkeys(_protected(fmt) for fmt in compression.weight_format))


def _format(trial: Trial, gene: str, compression: Compression, *, protect: bool) -> WeightFormat:
    """A layer's format; the first and last layer are not stored below int8 unless the study says so."""
    choices = compression.weight_format
    if not protect or compression.edges_below_int8:
        return ask(trial, gene, choices)
    if compression.granularity != "network":  # elsewhere the gene is the edge's own
        choices = edge_formats(compression)
    return _protected(ask(trial, gene, choices))


def _protected(weight_format: WeightFormat) -> WeightFormat:
    return weight_format if BITS[weight_format] >= 8 else "int8"
