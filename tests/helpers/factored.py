"""Candidates of the mixed space with factored layers, and the networks they are."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from compressors.pipeline import Options, compress
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.study import Compression
from search_spaces.network import build_network
from search_spaces.spaces import MixedSpace
from search_spaces.trials import Pick

CLASSES = 10
SPACE = MixedSpace.model_validate({"family": "mixed", "preset": "8px"})
WAYS: tuple[dict[str, Any] | None, ...] = (
    None,
    {"method": "svd", "ratio": 0.4},
    {"method": "spatial_svd", "ratio": 0.6},
    {"method": "tucker", "rank": [5, 4]},
    {"method": "cp", "rank": 6},
)


def drawn_factored(seed: int, *, low_rank: Any = WAYS, **fields: Any) -> Candidate:
    freedom = {"pruning_ratio": (0.0, 0.5), "granularity": "layer", "stage_widths": True, **fields}
    compression = Compression.model_validate({**freedom, "low_rank": low_rank})
    return sample(Pick(random.Random(seed).choice), SPACE, compression, input_channels=3)


def images_of(candidate: Candidate, count: int = 4) -> Tensor:
    size = candidate.architecture.input_size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def network_of(candidate: Candidate, seed: int = 0) -> nn.Module:
    """The untrained network, compressed and folded."""
    network = build_network(candidate.architecture, CLASSES, seed=seed)
    options = Options(groups=candidate.groups())
    return compress(network, candidate.plan, options, [images_of(candidate)], trained=False)
