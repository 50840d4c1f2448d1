"""The weights that an untrained network begins with."""

from __future__ import annotations

from torch import nn


def initialize(network: nn.Module) -> None:
    """He initialisation of convolutions, by their outputs (arXiv:1502.01852); linear layers are small and normal."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
