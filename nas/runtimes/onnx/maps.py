"""The maps that adaptive pooling reads, on which it depends what becomes of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.runtimes.onnx.writer import Size
from nas.runtimes.runtime import FileHeader


def adaptive_maps(network: fx.GraphModule, header: FileHeader) -> dict[str, Size]:
    """Height and width of what each adaptive pooling reads, by its module path; none where all go to 1x1."""
    pools = [module for module in network.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    if all(pool.output_size in (1, (1, 1)) for pool in pools):
        return {}
    found = _Maps(network)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        found.run(torch.zeros(1, header.channels, header.input_size, header.input_size, device=device))
    return found.maps


class _Maps(fx.Interpreter):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.maps: dict[str, Size] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(self.fetch_attr(target), nn.AdaptiveAvgPool2d) and isinstance(args[0], Tensor):
            height, width = args[0].shape[-2:]
            self.maps[str(target)] = height, width
        return super().call_module(target, args, kwargs)
