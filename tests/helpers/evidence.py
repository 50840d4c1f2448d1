"""A network small enough to be computed again in NumPy, and what a training would know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pair import Channels
from torch import Tensor, nn

from compressors.evidence import Evidence

HIDDEN = Channels("hidden", 5, (("first", 0), ("norm", 0), ("second", 1)))
Array = NDArray[np.float64]


class Small(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution, mean over the map: (N, 2, 3, 3) -> (N, 3), in double."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 5, 1), nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 3, 1)
        generator = torch.Generator().manual_seed(seed)
        for tensor in (*self.parameters(), self.norm.running_mean):
            assert tensor is not None
            tensor.data.normal_(0, 1, generator=generator)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(torch.relu(self.norm(self.first(x)))).mean((2, 3))
        return out


def evidence_of(network: nn.Module, *, momenta: bool = True, seed: int = 0, images: int = 7) -> Evidence:
    """Two batches, the second one smaller, and random moments."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(images, 2, 3, 3, generator=generator).double()
    labels = torch.randint(0, 3, (images,), generator=generator)
    moments = {n: torch.randn(p.shape, generator=generator).double() for n, p in network.named_parameters()}
    batches = [(pixels[:4], labels[:4]), (pixels[4:], labels[4:])]
    return Evidence(batches, moments if momenta else {}, seed=seed)


def values_of(network: Small) -> dict[str, Array]:
    """Its parameters and statistics."""
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def losses(values: Mapping[str, Array], images: Any, labels: Any, gates: Array | None = None) -> Array:
    """Cross entropy of each image, in NumPy; `gates` (5,) multiply what the second convolution reads."""
    hidden = hidden_of(values, images) * (np.ones(5) if gates is None else gates)[None, :, None, None]
    logits = np.einsum("oc,nchw->nohw", values["second.weight"][:, :, 0, 0], hidden).mean((2, 3))
    logits = logits + values["second.bias"]
    shifted = logits - logits.max(1, keepdims=True)
    found: Array = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(logits)), np.asarray(labels)]
    return found


def hidden_of(values: Mapping[str, Array], images: Any) -> Array:
    """What the second convolution reads (N, 5, H, W)."""

    def wide(name: str) -> Array:
        return values[name][None, :, None, None]

    first = np.einsum("oc,nchw->nohw", values["first.weight"][:, :, 0, 0], np.asarray(images)) + wide("first.bias")
    normal = (first - wide("norm.running_mean")) / np.sqrt(wide("norm.running_var") + 1e-5)
    found: Array = np.maximum(normal * wide("norm.weight") + wide("norm.bias"), 0)
    return found
