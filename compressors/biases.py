"""A layer as executed has a bias: one of zeros where it had none, and no batch norm gave it one."""

from __future__ import annotations

import torch
from torch import fx, nn


def give_biases(network: fx.GraphModule) -> None:
    """Give every convolution and linear layer that is called without a bias one of zeros, in place.

    Outputs stay what they are. Layers within others, as one beside its living batch norm, are left alone.
    """
    for node in network.graph.find_nodes(op="call_module"):
        layer = network.get_submodule(str(node.target))
        if type(layer) in (nn.Conv2d, nn.Linear) and layer.bias is None:
            weight = layer.weight
            assert isinstance(weight, torch.Tensor)
            layer.bias = nn.Parameter(torch.zeros(len(weight), dtype=weight.dtype, device=weight.device))
