"""The regularizer of network slimming (Liu et al. 2017, arXiv:1708.06519)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors.pruning.cutting import NORMS


def scale_sparsity(network: nn.Module) -> Tensor:
    """Sum of |gamma| over all batch norms, a scalar with a gradient; 0 where there is none.

    Scales of channels that the loss does not need become small, and `bn_scale` tells them from the rest.
    """
    scales: list[Tensor] = [m.weight for m in network.modules() if isinstance(m, NORMS) and m.affine]
    return torch.cat(scales).abs().sum() if scales else torch.zeros(())
