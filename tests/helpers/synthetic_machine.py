"""A machine with known latencies: a layer takes a call, its products in vectors of 16 channels, and its elements."""

from __future__ import annotations

import random

import numpy as np

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.study import Compression
from search_spaces.layers import LayerSpec
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

CLASSES = 10
RATES = {"conv": 0.02, "pointwise": 0.01, "depthwise": 0.09, "linear": 0.03}  # nanoseconds of a product, as floats
SPACE = MobileSpace.model_validate({"preset": "8px"})
COMPRESSION = Compression.model_validate(
    {"pruning_ratio": (0.0, 0.25, 0.5), "weight_format": ("fp32", "int8", "int4"), "granularity": "block"}
)


def drawn(count: int, *, seed: int = 0) -> list[Candidate]:
    choose = random.Random(seed).choice
    return [sample(Pick(choose), SPACE, COMPRESSION, input_channels=1) for _ in range(count)]


def latency_ms(candidate: Candidate) -> float:
    return 1e-6 * (3000 + sum(_ns(layer, candidate) for layer in candidate.layers(CLASSES)))


def _ns(layer: LayerSpec, candidate: Candidate) -> float:
    integer = candidate.plan.format_of(layer.name) != "fp32"
    staircase = -(-layer.out_channels // 16) * 16 / layer.out_channels
    products = layer.macs * staircase * RATES[layer.kind] * (0.6 if integer else 1.0)
    return 700 + 200 * integer + products + 0.3 * layer.out_channels * layer.output_size**2


def measured(candidates: list[Candidate], *, noise: float = 0.01, seed: int = 0) -> list[tuple[Candidate, float]]:
    """Each candidate with its milliseconds, some of them `noise` (relative) off."""
    off = np.exp(noise * np.random.default_rng(seed).standard_normal(len(candidates)))
    return [(candidate, latency_ms(candidate) * float(x)) for candidate, x in zip(candidates, off, strict=True)]
