"""Candidate: an architecture and its compression, in canonical form, with ids; how one is drawn from a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from compressors.plan import BITS, CompressionPlan, WeightFormat, kept_channels
from nas.study import Compression
from search_spaces.architecture import Architecture, BlockSite, InvertedResidualConfig, LayerSpec
from search_spaces.spaces import MobileSpace, Trial

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
        activations = [site.config.activation for site in self.architecture.blocks()]
        ends = [self.architecture.stem.activation, self.architecture.head.activation]
        return _digest({"layers": shipped, "activations": activations, "ends": ends})


def canonical(candidate: Candidate) -> Candidate:
    """Drop decisions without effect (all channels kept, fp32) and refuse names the network does not have."""
    widths = {group.name: group.width for group in candidate.architecture.groups()}
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


def sample(trial: Trial, space: MobileSpace, compression: Compression, *, input_channels: Literal[1, 3]) -> Candidate:
    """Draw one candidate: the architecture first, then a ratio per channel group and a format per layer."""
    architecture = space.sample(trial, input_channels=input_channels)
    kept: dict[str, int] = {}
    for group in architecture.groups():
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


def space_size(space: MobileSpace, compression: Compression) -> int:
    """Number of ways to answer all questions of `sample`; a gene that is not asked for multiplies by 1."""
    ratios, formats = len(compression.pruning_ratio), len(compression.weight_format)
    ends = formats * len(edge_formats(compression)) ** 2
    blocks = space.block_choices()
    whole = [block for block in blocks if block.expansion == 1]  # have no inner width that could be pruned

    def pruned_together(depth: int) -> int:
        unpruned: int = len(whole) ** depth
        return ratios * (int(len(blocks) ** depth) - unpruned) + unpruned

    def each_block(formats_of: Callable[[InvertedResidualConfig], int]) -> int:
        ways = sum(formats_of(block) * (ratios if block.expansion > 1 else 1) for block in blocks)
        return space.count(lambda depth: ways**depth) * ends

    match compression.granularity:
        case "network":
            unpruned = space.count(lambda depth: len(whole) ** depth)
            return formats * (ratios * (space.count() - unpruned) + unpruned)
        case "stage":
            return space.count(lambda depth: formats * pruned_together(depth)) * ends
        case "block":
            return each_block(lambda _: formats)
        case "layer":
            return each_block(lambda block: formats ** _layers_in(block))


def _layers_in(config: InvertedResidualConfig) -> int:
    return len(BlockSite("", config, 8, 8, 1, 8).layers(8))
