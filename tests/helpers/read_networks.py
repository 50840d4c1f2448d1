"""Existing networks for tests: torchvision's with weights that cost next to nothing to make, and rebuilt ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from search_spaces.existing.building import ExistingNetwork, begin_with
from search_spaces.existing.reading import Read


def of_torchvision(name: str, num_classes: int = 7, **keys: Any) -> nn.Module:
    """A network in eval mode, with weights and statistics that let no two channels be mistaken for each other."""
    builder = models.get_model_builder(name)
    try:
        with torch.device("meta"):
            network = builder(weights=None, num_classes=num_classes, **keys)
            if name.startswith("vgg"):  # whose 120 million weights of two layers take seconds
                network.classifier[0], network.classifier[3] = nn.Linear(512 * 7 * 7, 64), nn.Linear(64, 64)
                network.classifier[6] = nn.Linear(64, num_classes)
        network = network.to_empty(device="cpu")
    except NotImplementedError:
        network = builder(weights=None, num_classes=num_classes, **keys)
    pattern = torch.randn(1 << 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for module in network.modules():
            for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                value.copy_(_filled(key, value, pattern))
    eval_network: nn.Module = network.eval()
    return eval_network


def _filled(key: str, value: Tensor, pattern: Tensor) -> Tensor:
    if not value.is_floating_point():
        return torch.zeros_like(value)
    found = pattern.repeat(value.numel() // pattern.numel() + 1)[: value.numel()].reshape(value.shape)
    if value.dim() > 1:
        return found * (2 / value[0].numel()) ** 0.5
    return found * 0.1 if key in ("bias", "running_mean") else 1 + 0.2 * found.tanh()


def rebuilt(read: Read) -> nn.Module:
    """The network that was read, built from its blueprint, in eval mode."""
    network = ExistingNetwork(read.blueprint, read.num_classes).eval()
    begin_with(network, read.state)
    return network
