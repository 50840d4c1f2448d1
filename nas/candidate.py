"""Candidate: an architecture and its compression, in canonical form, with ids; how one is drawn from a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from compressors.plan import BITS, CompressionPlan, WeightFormat, kept_channels
from nas.study import Compression
from search_spaces.architecture import Architecture
from search_spaces.sites import BlockSite, ChannelGroup, LayerSpec
from search_spaces.spaces import Space, Trial

SCHEMA = 1
Choice = TypeVar("Choice")


class Candidate(BaseModel):
    """What is trained: stores what results (kept channels, formats), never two spellings of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture
    plan: CompressionPlan = CompressionPlan()

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON: fields at their default and decisions without effect are left out."""
        return {"schema": SCHEMA, **canonical(self).model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        fields = dict(data)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError(f"candidate: expected schema {SCHEMA}, got {data.get('schema')!r}")
        return canonical(cls.model_validate(fields))

    @property
    def id(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON."""
        return _digest(self.to_json())

    def layers(self, num_classes: int) -> tuple[LayerSpec, ...]:
        """Every layer as shipped, pruned."""
        return self.architecture.layers(num_classes, self.plan.kept)

    def parameters(self, num_classes: int) -> int:
        return sum(layer.parameters for layer in self.layers(num_classes))

    def macs(self, num_classes: int) -> int:
        return sum(layer.macs for layer in self.layers(num_classes))

    def weight_bytes(self, num_classes: int) -> int:
        """Bytes of packed weights and biases alone: a lower bound of the file, before anything is built."""
        layers = self.layers(num_classes)
        bits = sum(layer.weight_count * BITS[self.plan.format_of(layer.name)] for layer in layers)
        return bits // 8 + 4 * sum(layer.out_channels for layer in layers)

    def structure_id(self, num_classes: int) -> str:
        """Digest of all that costs depend on: shipped shapes, formats, operations and input size."""
        shipped = [
            [layer.name, layer.kind, layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
             layer.input_size, self.plan.format_of(layer.name)]
            for layer in self.layers(num_classes)
        ]  # fmt: skip
        configs = [site.config for site in self.architecture.blocks()]
        activations = [
            config.activation if config.kind == "inverted_residual" else [config.kind, config.activation]
            for config in configs
        ]
        head = self.architecture.head
        ends = [self.architecture.stem.activation, head.activation if head is not None else None]
        told = {"layers": shipped, "activations": activations, "ends": ends}
        unlike = self._without_skip(num_classes)
        return _digest({**told, "no_skip": unlike} if unlike else told)

    def _without_skip(self, num_classes: int) -> list[str]:
        """Blocks whose ends pruning made equal: shaped like a block with a skip, which they do not have."""
        ends: dict[str, tuple[int, int]] = {}
        for layer in self.layers(num_classes):
            ends[layer.block] = (ends.get(layer.block, (layer.in_channels, 0))[0], layer.out_channels)
        plain = [site for site in self.architecture.blocks() if site.stride == 1 and not site.has_skip]
        return [site.name for site in plain if len(set(ends[site.name])) == 1]


def canonical(candidate: Candidate) -> Candidate:
    """Drop decisions without effect (all channels kept, fp32) and refuse names the network does not have."""
    architecture = candidate.architecture
    widths = {group.name: group.width for group in architecture.all_groups()}
    layers = {layer.name for layer in candidate.architecture.layers(1)}
    plan = candidate.plan
    unknown = [name for name in plan.kept if name not in widths] + [n for n in plan.formats if n not in layers]
    if unknown:
        raise ValueError(f"plan names {', '.join(unknown)}, which this architecture does not have")
    for name, kept in plan.kept.items():
        if kept > widths[name]:
            raise ValueError(f"plan keeps {kept} channels of {name}, which has {widths[name]}")
    kept_map = {name: kept for name, kept in plan.kept.items() if kept != widths[name]}
    formats = {name: fmt for name, fmt in plan.formats.items() if fmt != "fp32"}
    return candidate.model_copy(update={"plan": CompressionPlan(kept=kept_map, formats=formats)})


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sample(trial: Trial, space: Space, compression: Compression, *, input_channels: Literal[1, 3]) -> Candidate:
    """Draw one candidate: the architecture first, then a ratio per channel group and a format per layer."""
    architecture = space.sample(trial, input_channels=input_channels)
    kept: dict[str, int] = {}
    for group in prunable_groups(architecture, compression):
        gene = f"{_scope(group.block, group.block, compression.granularity)}.pruning_ratio"
        ratio = _ask(trial, gene, compression.pruning_ratio)
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
        return _ask(trial, gene, choices)
    if compression.granularity != "network":  # elsewhere the gene is the edge's own
        choices = edge_formats(compression)
    return _protected(_ask(trial, gene, choices))


def edge_formats(compression: Compression) -> tuple[WeightFormat, ...]:
    """Formats the first and last layer may take, each once."""
    if compression.edges_below_int8:
        return compression.weight_format
    return tuple(dict.fromkeys(_protected(fmt) for fmt in compression.weight_format))


def _protected(weight_format: WeightFormat) -> WeightFormat:
    return weight_format if BITS[weight_format] >= 8 else "int8"


def _ask(trial: Trial, gene: str, choices: tuple[Choice, ...]) -> Choice:
    """One gene; a single choice is no question."""
    answer: Choice = choices[0] if len(choices) == 1 else trial.suggest_categorical(gene, choices)
    return answer


def space_size(space: Space, compression: Compression) -> int:
    """Number of ways to answer all questions of `sample`; a gene that is not asked for multiplies by 1.

    With `stage_widths` it counts a ratio for the stem and every stage, also where a skip ties two of them together or a
    shuffle unit keeps one whole.
    """
    ratios, formats = len(compression.pruning_ratio), len(compression.weight_format)
    edges = len(edge_formats(compression)) ** 2
    widths = ratios ** (1 + len(space.stages)) if compression.stage_widths else 1

    def head(width: int) -> int:
        return formats if width else 1

    def together(firsts: Sites, others: Sites, depth: int) -> int:
        unpruned = 0 if compression.stage_widths else _unpruned(firsts, others, depth)
        return formats * (ratios * (_all(firsts, others, depth) - unpruned) + unpruned)

    match compression.granularity:
        case "network":
            unpruned = 0 if compression.stage_widths else space.count(_unpruned, lambda _: 1)
            return formats * (ratios * (space.count(_all, lambda _: 1) - unpruned) + unpruned)
        case "stage":
            return (ratios if compression.stage_widths else 1) * space.count(together, head) * edges
        case "block":
            blocks = _each(lambda site: formats * (ratios if site.has_group else 1))
            return widths * space.count(blocks, head) * edges
        case "layer":
            blocks = _each(lambda site: formats ** len(site.rows()) * (ratios if site.has_group else 1))
            return widths * space.count(blocks, head) * edges


Sites = Sequence[BlockSite]


def _all(firsts: Sites, others: Sites, depth: int) -> int:
    total: int = len(firsts) * len(others) ** (depth - 1)
    return total


def _unpruned(firsts: Sites, others: Sites, depth: int) -> int:
    """Stages without any free inner width."""
    return _each(lambda site: not site.has_group)(firsts, others, depth)


def _each(ways: Callable[[BlockSite], int]) -> Callable[[Sites, Sites, int], int]:
    """Stages counted with `ways(site)` for each of their blocks."""

    def count(firsts: Sites, others: Sites, depth: int) -> int:
        total: int = sum(map(ways, firsts)) * sum(map(ways, others)) ** (depth - 1)
        return total

    return count
