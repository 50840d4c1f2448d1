"""How a candidate is drawn: the architecture, then a ratio per channel group and a format per layer."""

from __future__ import annotations

from typing import Literal, TypeVar

from compressors.plan import BITS, CompressionPlan, WeightFormat, kept_channels
from nas.candidates.candidate import Candidate, canonical
from nas.study import Compression
from search_spaces.architecture import Architecture
from search_spaces.layers import ChannelGroup
from search_spaces.spaces import Space
from search_spaces.trials import Trial

Choice = TypeVar("Choice")


def sample(trial: Trial, space: Space, compression: Compression, *, input_channels: Literal[1, 3]) -> Candidate:
    """Draw one candidate: the architecture first, then a ratio per channel group and a format per layer."""
    architecture = space.sample(trial, input_channels=input_channels)
    kept: dict[str, int] = {}
    for group in prunable_groups(architecture, compression):
        gene = f"{_scope(group.block, group.block, compression.granularity)}.pruning_ratio"
        ratio = ask(trial, gene, compression.pruning_ratio)
        kept[group.name] = kept_channels(group.width, ratio, space.width_grid)
    formats: dict[str, WeightFormat] = {}
    layers = architecture.layers(1)
    edges = {layers[0].name, layers[-1].name}
    for layer in layers:
        gene = f"{_scope(layer.name, layer.block, compression.granularity)}.weight_format"
        formats[layer.name] = _format(trial, gene, compression, protect=layer.name in edges)
    return canonical(Candidate(architecture=architecture, plan=CompressionPlan(kept=kept, formats=formats)))


def prunable_groups(architecture: Architecture, compression: Compression) -> tuple[ChannelGroup, ...]:
    """The groups a study prunes: inner widths, and where it says so the widths between blocks."""
    return architecture.all_groups() if compression.stage_widths else architecture.groups()


def _scope(name: str, block: str, granularity: str) -> str:
    """The prefix of a compression gene: what shares one decision."""
    return {"network": "network", "stage": block.partition(".")[0], "block": block, "layer": name}[granularity]


def _format(trial: Trial, gene: str, compression: Compression, *, protect: bool) -> WeightFormat:
    """A layer's format; the first and last layer are not stored below int8 unless the study says so."""
    choices = compression.weight_format
    if not protect or compression.edges_below_int8:
        return ask(trial, gene, choices)
    if compression.granularity != "network":  # elsewhere the gene is the edge's own
        choices = edge_formats(compression)
    return _protected(ask(trial, gene, choices))


def edge_formats(compression: Compression) -> tuple[WeightFormat, ...]:
    """Formats the first and last layer may take, each once."""
    if compression.edges_below_int8:
        return compression.weight_format
    return tuple(dict.fromkeys(_protected(fmt) for fmt in compression.weight_format))


def _protected(weight_format: WeightFormat) -> WeightFormat:
    return weight_format if BITS[weight_format] >= 8 else "int8"


def ask(trial: Trial, gene: str, choices: tuple[Choice, ...]) -> Choice:
    """One gene; a single choice is no question."""
    answer: Choice = choices[0] if len(choices) == 1 else trial.suggest_categorical(gene, choices)
    return answer
