"""Features of a candidate: the numbers by which a model of accuracy compares networks. No torch.

They describe the network that results, not the genes it was drawn by: two draws of one network have the same features,
and networks of any study with as many stages have features of the same meaning.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressors.budgets import budget_of
from compressors.formats import FORMATS
from compressors.steps import WITHOUT_TRAINING
from nas.candidates.candidate import Candidate, formats_of
from nas.candidates.low_rank import likely_losses
from nas.candidates.zeros import likely_shares, mask_of_plan
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.protocols import SpaceLike

Vector = NDArray[np.float64]

WHOLE = (
    "log_parameters", "log_macs", "log_weight_bits", "depth", "log2_bits", "step", "pruned", "log_field",
    "log_smallest_stage", "log_input_size", "log_head", "stem_step", "classifier_step", "factored", "masked",
    "untrained_rounding",
)  # fmt: skip
PER_STAGE = (
    "depth", "log_parameters", "log_macs", "log_width", "log2_bits", "step", "pruned", "kernel", "log_expansion",
    "squeeze_excite", "relu6", "hardswish", "linear", "masked",
)  # fmt: skip
START, END = "stem", "end"  # what stands before the first block and behind the last, where pairs of kinds are counted


class Sums(NamedTuple):
    """Sums over the layers of a part, or of several parts.

    Bits are those that a weight tells: of three values fewer than of four. log2_bits: of the logarithms of bits, each
    as often as the layer has weights. step: of 2^-bits, the step of a grid of so many bits. masked: of the shares of
    weights that masks zero. factored: of the shares of weights that layers lost by being factored. reach: of what each
    layer adds to the receptive field, as a share of the image's side.
    """

    layers: int = 0
    parameters: int = 0
    macs: int = 0
    weights: int = 0
    weight_bits: float = 0
    log2_bits: float = 0.0
    step: float = 0.0
    masked: float = 0.0
    reach: float = 0.0
    factored: float = 0.0

    def plus(self, other: Sums) -> Sums:
        return Sums._make(map(operator.add, self, other))


@lru_cache(maxsize=1 << 16)  # a pool of thousands of networks is made of few different parts
def sums_of(part: Part, formats: tuple[str, ...], masked: tuple[float, ...] = ()) -> Sums:
    """Sums over a part's layers with these formats and masked shares.

    A shortcut reaches no further than what it passes by.
    """
    layers, bits = part.layers, [FORMATS[name].information for name in formats]
    return Sums(
        layers=len(layers),
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        weights=sum(layer.weight_count for layer in layers),
        weight_bits=sum(layer.weight_count * b for layer, b in zip(layers, bits, strict=True)),
        log2_bits=sum(layer.weight_count * math.log2(b) for layer, b in zip(layers, bits, strict=True)),
        step=sum(2.0**-b for b in bits),
        masked=sum(masked),
        reach=sum((sum(layer.kernels) / 2 - 1) / layer.input_size for layer in layers if ".shortcut" not in layer.name),
        factored=factored_shares(layers),
    )


def factored_shares(layers: Sequence[LayerSpec]) -> float:
    """The sum, over layers that were factored, of the share of weights that they lost by it."""
    chains: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        if layer.name != layer.whole:
            chains.setdefault(layer.whole, []).append(layer)
    return sum(1 - sum(one.weight_count for one in chain) / _whole_weights(chain) for chain in chains.values())


def _whole_weights(chain: Sequence[LayerSpec]) -> int:
    """Weights of the layer whose factors these are: each side of its kernel is that of one of them."""
    height, width = (max(layer.kernels[side] for layer in chain) for side in (0, 1))
    return chain[0].in_channels * chain[-1].out_channels * height * width


@dataclass(frozen=True)
class Features:
    """Features of networks of `stages` stages whose blocks are of `kinds`; `names` says what each number is.

    Called with a candidate and the number of classes it returns a vector (d,). A stage that a network does not have is
    described by zeros. Raises ValueError for networks of more stages. Stages of a network that is not made of blocks
    are the sections that it says its parts are in.
    """

    stages: int
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, space: SpaceLike) -> Features:
        return cls(space.sections, tuple(space.block_spaces()))

    @cached_property
    def names(self) -> tuple[str, ...]:
        per_stage = (f"stage{s}.{name}" for s in range(1, self.stages + 1) for name in PER_STAGE)
        kinds = (f"share.{kind}" for kind in self.kinds)
        return (*WHOLE, *per_stage, *kinds, *(f"{a}-{b}" for a, b in self._pairs))

    @cached_property
    def _pairs(self) -> dict[tuple[str, str], int]:
        """Kinds that may follow each other, numbered."""
        ends = [(START, kind) for kind in self.kinds] + [(kind, END) for kind in self.kinds]
        return {pair: i for i, pair in enumerate([*ends, *((a, b) for a in self.kinds for b in self.kinds)])}

    def __call__(self, candidate: Candidate, num_classes: int) -> Vector:
        parts = candidate.parts(num_classes)
        mask = mask_of_plan(candidate.plan)
        summed = [sums_of(part, formats_of(part, candidate.plan), likely_shares(part, mask)) for part in parts]
        stages = _stages(candidate, parts, summed, self.stages)
        found = [*_whole(candidate, summed, stages), *(number for stage in stages for number in stage.described())]
        return np.array([*found, *self._followed([p.site.config.kind for p in parts if p.site is not None])])

    def _followed(self, kinds: Sequence[str]) -> Iterator[float]:
        """The share of each kind among the blocks, and the roots of how often each pair of kinds follows each other."""
        yield from (kinds.count(kind) / max(1, len(kinds)) for kind in self.kinds)
        counts = [0] * len(self._pairs)
        for pair in pairwise((START, *kinds, END)):
            if pair in self._pairs:
                counts[self._pairs[pair]] += 1
        yield from map(math.sqrt, counts)


class _Stage:
    """What a stage's blocks are, block by block."""

    def __init__(self) -> None:
        self.sums, self.depth, self.width = Sums(), 0, 0
        self.pruned = 0.0  # squares of the removed shares of channels
        self.shapes = [0.0] * 6  # kernel, log expansion, squeeze-excite, relu6, hardswish, linear

    def add(self, part: Part, sums: Sums, whole: Part | None) -> None:
        """One more block; or a part that is none, and what it is when it is `whole`."""
        self.sums, self.depth = self.sums.plus(sums), self.depth + 1
        self.width, pruned = _width_and_pruned(part) if whole is None else _cut(part, whole)
        self.pruned += pruned
        own = _shape_of(part.site.config if part.site is not None else None, is_linear=part.is_linear)
        self.shapes = [a + b for a, b in zip(self.shapes, own, strict=True)]

    def described(self) -> Iterator[float]:
        """The numbers named in PER_STAGE."""
        sums, depth = self.sums, max(1, self.depth)
        yield from (self.depth, math.log(1 + sums.parameters), math.log(1 + sums.macs), math.log(1 + self.width))
        yield from (sums.log2_bits / max(1, sums.weights), sums.step / max(1, sums.layers), self.pruned / depth)
        yield from (number / depth for number in self.shapes)
        yield sums.masked / max(1, sums.layers)


def _stages(candidate: Candidate, parts: Sequence[Part], summed: Sequence[Sums], count: int) -> list[_Stage]:
    architecture = candidate.architecture
    places = [architecture.section_of(part.name) for part in parts]
    if used := {place for place in places if place is not None and place >= count}:
        raise ValueError(f"features: expected a network of at most {count} stages, got {max(used) + 1}")
    blocks = all(part.site is not None for part, place in zip(parts, places, strict=True) if place is not None)
    whole = {} if blocks else {part.name: part for part in architecture.parts(1)}
    found = [_Stage() for _ in range(count)]
    for part, sums, place in zip(parts, summed, places, strict=True):
        if place is not None:
            found[place].add(part, sums, whole.get(part.name))
    return found


def _whole(candidate: Candidate, summed: Sequence[Sums], stages: Sequence[_Stage]) -> Iterator[float]:
    """The numbers named in WHOLE."""
    total, head_width = Sums(), candidate.architecture.head_width
    for sums in summed:
        total = total.plus(sums)
    smallest = min((stage.sums.parameters for stage in stages if stage.depth), default=1)
    yield from (math.log(total.parameters), math.log(total.macs), math.log(total.weight_bits))
    yield sum(stage.depth for stage in stages)
    pruned = sum(stage.pruned + stage.depth * _budget(candidate) ** 2 for stage in stages)
    yield from (total.log2_bits / total.weights, total.step, pruned)
    yield from (math.log(total.reach or 1.0), math.log(smallest), math.log(candidate.architecture.input_size))
    yield math.log(1 + head_width)
    factored = total.factored + likely_losses(candidate.plan.steps.get("low_rank", {}))
    yield from (summed[0].step, summed[-1].step, factored, total.masked / total.layers)
    yield float(any(name in candidate.plan.steps for name in WITHOUT_TRAINING))


def _budget(candidate: Candidate) -> float:
    """The share of channels that a budget removes, taken to be that of every block."""
    decisions = candidate.plan.steps.get("pruned")
    budget = budget_of(decisions) if decisions else None
    return budget.ratio if budget is not None else 0.0


@lru_cache(maxsize=1 << 16)
def _width_and_pruned(part: Part) -> tuple[int, float]:
    """Channels behind a block, and the squares of the shares removed there and between its convolutions."""
    site = part.site
    assert site is not None
    inner, width = site.inner_width, site.out_width
    writes = {f"{site.name}.{row.layer}": row.writes for row in site.rows()}
    for layer in part.layers:  # of a factored layer the last factor writes its output
        inner = layer.out_channels if writes[layer.whole] == "inner" else inner
        width = layer.out_channels if writes[layer.whole] == "out" else width
    return width, (1 - inner / site.inner_width) ** 2 + (1 - width / site.out_width) ** 2


@lru_cache(maxsize=1 << 16)
def _cut(part: Part, whole: Part) -> tuple[int, float]:
    """Channels behind a part, and the mean square of the shares of channels that its layers have lost."""
    before = {layer.name: layer.out_channels for layer in whole.layers}
    left = {layer.whole: layer.out_channels for layer in part.layers}  # of a factored layer the last factor's
    shares = [1 - channels / before[name] for name, channels in left.items() if name in before]
    return part.layers[-1].out_channels, sum(share**2 for share in shares) / max(1, len(shares))


@lru_cache(maxsize=1 << 12)
def _shape_of(config: object, *, is_linear: bool) -> tuple[float, float, float, float, float, float]:
    """Of a block's record: kernel, log of the expansion, squeeze-excite, relu6, hardswish; 0 for what it has not. And
    whether its activations are removed."""
    activation = "" if is_linear else getattr(config, "activation", "")
    return (
        getattr(config, "kernel", 0),
        math.log(getattr(config, "expansion", 1)),
        float(getattr(config, "squeeze_excite", False)),
        float(activation == "relu6"),
        float(activation == "hardswish"),
        float(is_linear),
    )
