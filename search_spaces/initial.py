"""The weights that an untrained network begins with."""

from __future__ import annotations

from torch import nn


def initialize(network: nn.Module, head: str) -> None:
    """He initialisation (arXiv:1502.01852): of convolutions by their outputs, of linear layers by their inputs.

    A linear layer of the name `head`, which gives the logits, is small and normal.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            if name == head:
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
