"""The maps that pooling reads, where it depends on them what becomes of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.runtimes.onnx.writer import Size
from nas.runtimes.runtime import FileHeader


def pooled_maps(network: fx.GraphModule, header: FileHeader) -> dict[str, Size]:
    """Height and width of what each pooling reads, by its module path; none where no pooling depends on it."""
    if not any(map(_depends, network.modules())):
        return {}
    found = _Maps(network)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        found.run(torch.zeros(1, header.channels, header.input_size, header.input_size, device=device))
    return found.maps


def _depends(module: nn.Module) -> bool:
    """Whether windows are of sizes that follow from the map, or may reach beyond it."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return module.output_size not in (1, (1, 1))
    return isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and module.ceil_mode


class _Maps(fx.Interpreter):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.maps: dict[str, Size] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _depends(self.fetch_attr(target)) and isinstance(args[0], Tensor):
            height, width = args[0].shape[-2:]
            self.maps[str(target)] = height, width
        return super().call_module(target, args, kwargs)
