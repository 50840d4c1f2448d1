"""A joint space of 80 genes as a formula: architecture, pruning ratios and bits of up to twelve inverted bottlenecks.

Four stages of one to three blocks; a stage has a width, a block a kernel, an expansion, a pruning ratio and the bits of
its three layers. Bytes and latency are exact. The error falls with the capacity of each stage, the depth and the
receptive field, rises where few bits or much pruning meet sensitive layers, and has an interaction between genes that
no feature knows, and training noise of 0.2 points.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from interactions import PairTables, SmoothNetwork
from problems import CategoricalTrial, Params, Points, Scale, volume

from nas.search.draws import RandomTrial
from search_spaces.trials import Replay

STAGES, BLOCKS, LAYERS = 4, 3, 3
CHOICES: dict[str, tuple[Any, ...]] = {
    "depth": (1, 2, 3),
    "width": (0.5, 0.75, 1.0, 1.25),
    "kernel": (3, 5, 7),
    "expand": (2, 3, 4, 6),
    "prune": (0.0, 0.25, 0.5, 0.75),
    "bits": (2, 4, 8, 16),
}
PER_BLOCK = ("kernel", "expand", "prune", "bits0", "bits1", "bits2")
BASE_WIDTHS, RESOLUTIONS, STEM_WIDTH = (16, 32, 64, 128), (32, 16, 8, 4), 16
MULTIPLY_COST = {2: 0.5, 4: 0.6, 8: 1.0, 16: 2.2}  # per multiply-accumulate, beside 8 bits
DEPTHWISE_COST = 2.5
LOSS = {2: 2.2, 4: 0.45, 8: 0.05, 16: 0.0}  # points of error of one layer of average sensitivity
NOISE = 0.2  # points of error, standard deviation
SCALING_DRAWS = 2_000
KEPT = 50_000


class Layer(NamedTuple):
    """One layer as it ships. `position` in its block: 0 expansion, 1 depthwise, 2 projection."""

    stage: int
    block: int
    position: int
    weights: int
    macs: int
    bits: int
    kernel: int
    prune: float


class Interaction(Protocol):
    """What no feature knows: points of error by the choices of all active genes, and how sensitive layers are."""

    sensitivity: Points  # (stages, blocks, layers)

    def __call__(self, chosen: Mapping[str, int]) -> float: ...


def genes() -> dict[str, tuple[Any, ...]]:
    """All 80, in the order in which they are drawn, with their choices."""
    found: dict[str, tuple[Any, ...]] = {}
    for stage in range(STAGES):
        found |= {f"s{stage}.{gene}": CHOICES[gene] for gene in ("depth", "width")}
        for block in range(BLOCKS):
            found |= {f"s{stage}.b{block}.{gene}": CHOICES[gene.rstrip("012")] for gene in PER_BLOCK}
    return found


GENES = genes()


def draw(trial: CategoricalTrial) -> dict[str, Any]:
    """Active genes only: blocks beyond a stage's depth are not asked for."""
    params: dict[str, Any] = {}

    def ask(gene: str) -> Any:
        params[gene] = trial.suggest_categorical(gene, GENES[gene])
        return params[gene]

    for stage in range(STAGES):
        depth = ask(f"s{stage}.depth")
        ask(f"s{stage}.width")
        for block in range(depth):
            for gene in PER_BLOCK:
                ask(f"s{stage}.b{block}.{gene}")
    return params


def layers(params: Params) -> list[Layer]:
    found, channels = [], STEM_WIDTH
    for stage in range(STAGES):
        width = round(BASE_WIDTHS[stage] * params[f"s{stage}.width"] / 4) * 4
        for block in range(params[f"s{stage}.depth"]):
            name = f"s{stage}.b{block}."
            kernel, prune = params[name + "kernel"], params[name + "prune"]
            inner = max(4, round(channels * params[name + "expand"] * (1 - prune) / 4) * 4)
            weights = (channels * inner, kernel * kernel * inner, inner * width)
            for position, count in enumerate(weights):
                macs, bits = count * RESOLUTIONS[stage] ** 2, params[f"{name}bits{position}"]
                own = kernel if position == 1 else 1
                found.append(Layer(stage, block, position, count, macs, bits, own, prune))
            channels = width
    return found


def costs(found: Sequence[Layer]) -> tuple[float, float]:
    """Bytes of the weights, and a latency bound by arithmetic or by memory, layer by layer."""
    size = sum(layer.weights * layer.bits for layer in found) / 8
    latency = 50.0
    for layer in found:
        factor = MULTIPLY_COST[layer.bits] * (DEPTHWISE_COST if layer.position == 1 else 1.0)
        latency += 2.0 + max(layer.macs * factor / 8000, layer.weights * layer.bits / 32000)
    return size, latency


def describe(found: Sequence[Layer]) -> list[float]:
    """What any layer graph says of itself: sizes, depth and bits in all and per stage, steps of the quantization,
    squared ratios, receptive field, the smallest stage.
    """
    values, steps, ratios, sizes, field = list[float](), 0.0, 0.0, list[int](), 0.0
    macs = stored = 0
    for stage in range(STAGES):
        count = size = work = bits = grown = 0
        step = ratio = 0.0
        for layer in found:
            if layer.stage == stage:
                count, size, work = count + 1, size + layer.weights, work + layer.macs
                bits, step = bits + layer.weights * layer.bits, step + 2.0**-layer.bits
                if layer.position == 1:
                    grown, ratio = grown + layer.kernel, ratio + layer.prune**2
        values += [
            count / 3,
            math.log(size),
            math.log(work),
            bits / size,
            3 * grown / count,
            step / count,
            ratio / count,
        ]
        sizes.append(size)
        macs, stored, steps, ratios = macs + work, stored + bits, steps + step, ratios + ratio
        field += (grown - count / 3) * 2**stage
    whole = [math.log(sum(sizes)), math.log(macs), math.log(stored / 8), len(found) / 9, stored / sum(sizes)]
    return [*whole, *values, steps, ratios, field, math.log(min(sizes))]


class JointSpace:
    """Objectives: error in per cent, bytes, latency. Volumes are of the errors without their noise."""

    scales: Sequence[Scale] = ("linear", "log", "log")

    def __init__(self, name: str, interaction: Interaction) -> None:
        self.name = name
        self._interaction = interaction
        self._known: dict[frozenset[tuple[str, Any]], list[Layer]] = {}

    def space(self, trial: CategoricalTrial) -> Hashable:
        return tuple(draw(trial).items())

    def values(self, params: Params, random: np.random.Generator) -> tuple[float, ...]:
        return (min(90.0, max(2.0, self.error(params) + NOISE * random.normal())), *self.exact(params))

    def exact(self, params: Params) -> tuple[float, ...]:
        return costs(self._found(params))

    def features(self, params: Params, *, with_latency: bool) -> Sequence[float]:
        return describe(self._found(params))

    def work(self, params: Params) -> Sequence[float]:
        """One network, its layers, and multiply-accumulates by bits, of depthwise layers and of others."""
        found = self._found(params)
        groups = [(bits, depthwise) for bits in CHOICES["bits"] for depthwise in (True, False)]
        sums = [sum(o.macs for o in found if (o.bits, o.position == 1) == group) / 1e6 for group in groups]
        return [1.0, float(len(found)), *sums]

    def is_wasteful(self, params: Params, *, with_latency: bool) -> bool:
        return False

    def error(self, params: Params) -> float:
        """Without noise, in per cent."""
        params = draw(Replay(params))
        sensitivity, loss, field = self._interaction.sensitivity, 0.0, 0.0
        capacity = [0.0] * STAGES
        for layer in self._found(params):
            own = sensitivity[layer.stage, layer.block, layer.position] * LOSS[layer.bits] * (1 + 0.8 * layer.prune)
            loss += 0.35 * own * (1.6 if (layer.stage, layer.block) == (0, 0) else 1.0)
            capacity[layer.stage] += layer.weights
            if layer.position == 1:
                field += (layer.kernel - 1) * 2**layer.stage
                loss += 0.5 * layer.prune**2 * sensitivity[layer.stage, layer.block, 0]
        middles, shares = (6.8, 8.2, 9.5, 10.7), (0.8, 1.0, 1.2, 1.0)
        effect = sum(
            share * math.tanh((math.log(size + 1) - middle) / 1.5)
            for size, middle, share in zip(capacity, middles, shares, strict=True)
        )
        depth = sum(params[f"s{stage}.depth"] - 1 for stage in range(STAGES))
        reach = effect + 3.2 + 0.18 * depth + 0.9 * math.tanh((field - 60) / 60)
        chosen = {gene: GENES[gene].index(value) for gene, value in params.items()}
        return min(90.0, max(2.0, 7 + 26 * math.exp(-0.33 * reach) + loss + self._interaction(chosen)))

    def shares(self, tried: Sequence[Params]) -> dict[str, float]:
        points = np.array([[self.error(params), *np.log(self.exact(params))] for params in tried])
        low, high = self._box
        return {"clean": volume(np.minimum((points - low) / (high - low), 1))}

    @property
    def reference_point(self) -> Sequence[float]:
        high = self._box[1]
        return (float(high[0]), *np.exp(high[1:]).tolist())

    def _found(self, params: Params) -> list[Layer]:
        """Layers of a network, kept from ask to ask."""
        key = frozenset(params.items())
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = layers(params)
        return self._known[key]

    @cached_property
    def _box(self) -> tuple[Points, Points]:
        """Ideal and reference point: of random networks, the 99th percentile; costs far below the first."""
        random = np.random.default_rng(123)
        drawn = [draw(RandomTrial(random)) for _ in range(SCALING_DRAWS)]
        points = np.array([[self.error(params), *np.log(self.exact(params))] for params in drawn])
        low = np.percentile(points, 1, axis=0) - 2
        low[0] = 7.0
        return low, np.percentile(points, 99, axis=0)


def joint_spaces() -> dict[str, JointSpace]:
    widths = {gene: len(choices) for gene, choices in GENES.items()}
    found = (JointSpace("joint-smooth", SmoothNetwork(widths)), JointSpace("joint-pairs", PairTables(widths)))
    return {space.name: space for space in found}
