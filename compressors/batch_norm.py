"""Batch norm's running statistics, estimated again for the weights as they are."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Recompute running statistics as plain averages over batches of images (N, C, H, W); leaves it in training mode.

    After pruning they are of other channels; after a training they are of weights that have moved since, by much where
    it was short (Wu and Johnson 2021, arXiv:2105.07576). Frozen norms are left alone.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and not _frozen(m)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _frozen(norm: nn.Module) -> bool:
    return bool(getattr(norm, "is_frozen", False))
