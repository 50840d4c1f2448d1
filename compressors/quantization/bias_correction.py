"""Bias correction: the mean of what rounding the weights does to a layer's outputs is taken off its bias."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from compressors.quantization.floats import FloatRun
from compressors.quantization.modules import QuantizedConv2d, QuantizedLayer, convolved


@torch.no_grad()
def correct_biases(network: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Change the bias of every quantized layer by the mean shift of its outputs (Nagel et al. 2019, arXiv:1906.04721).

    With the float network's inputs x of batches (N, C, H, W): b -= E[W_q x] - E[W x], per output channel. The scales
    are those at the call.
    """
    sums, counts = dict[str, Tensor](), dict[str, int]()

    def look(path: str, x: Tensor) -> None:
        layer = network.get_submodule(path)
        assert isinstance(layer, QuantizedLayer)
        shift = shifted(layer, x)
        sums[path] = sums.get(path, torch.zeros_like(layer.bias)) + shift.sum(0)
        counts[path] = counts.get(path, 0) + len(shift)

    run = FloatRun(network, layer=look)
    for images in batches:
        run.run(images)
    for path, total in sums.items():
        layer = network.get_submodule(path)
        assert isinstance(layer, QuantizedLayer)
        layer.bias.sub_(total / counts[path])


def shifted(layer: QuantizedLayer, x: Tensor) -> Tensor:
    """By how much the outputs of x differ for the rounding of the weight: (outputs at all positions, out)."""
    weight, _ = layer.quantized()
    error = weight - layer.layer.weight
    if isinstance(layer, QuantizedConv2d):
        return convolved(layer.layer, x, error, None).movedim(1, -1).flatten(0, -2)
    return nn.functional.linear(x, error).flatten(0, -2)
