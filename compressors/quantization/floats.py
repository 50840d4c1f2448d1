"""A prepared network as it computes without rounding: what its quantizers and quantized layers read is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx

from compressors.quantization.activations import ActivationQuantizer, SharedGrid
from compressors.quantization.modules import QuantizedLayer

Look = Callable[[str, Tensor], None]


def unseen(_: str, __: Tensor) -> None:
    """Look away."""


class FloatRun(fx.Interpreter):
    """Runs a prepared network with float weights and activations.

    activation: told the path of every quantizer and the tensor that it would round. layer: told the path of every
    quantized layer and the float tensor that it reads.
    """

    def __init__(self, network: fx.GraphModule, *, activation: Look = unseen, layer: Look = unseen) -> None:
        super().__init__(network)
        self._activation, self._layer = activation, layer

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module, path = self.fetch_attr(target), str(target)
        if isinstance(module, ActivationQuantizer):
            self._activation(path, args[0])
            return args[0]
        if isinstance(module, SharedGrid):
            return args[0]
        if isinstance(module, QuantizedLayer):
            self._layer(path, args[0])
            return module.layer(args[0])
        return super().call_module(target, args, kwargs)
