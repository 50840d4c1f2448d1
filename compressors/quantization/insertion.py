"""Which tensors of a folded network are quantized: layers and quantizers are put into its torch.fx graph.

A layer below fp32 gets integer inputs and outputs. An element-wise operation, pooling, concatenation or a move of data
whose inputs are all quantized gives a quantized output too, so that integer regions stay whole. The network's output
stays float.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.plan import BITS, WeightFormat
from compressors.quantization.modules import ActivationQuantizer, QuantizedConv2d, QuantizedLinear, SharedGrid

CLAMPING: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
ELEMENTWISE_MODULES = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.AdaptiveAvgPool2d)
ELEMENTWISE_FUNCTIONS: tuple[Callable[..., Any], ...] = (operator.add, operator.mul)
CONCATENATING: tuple[Callable[..., Any], ...] = (torch.cat,)
RESHAPING: tuple[Callable[..., Any], ...] = (torch.flatten,)


@runtime_checkable
class PixelGrid(Protocol):
    """A first module that says on which 8-bit grid it puts 8-bit pixels."""

    def pixel_grid(self) -> tuple[float, int]: ...


@runtime_checkable
class ChannelSelection(Protocol):
    """A module that moves whole channels: output channel i is input channel `selected()[i]`."""

    def selected(self) -> Sequence[int]: ...


def prepare(
    module: nn.Module, formats: Mapping[str, WeightFormat], *, learned: Collection[WeightFormat] = ()
) -> fx.GraphModule:
    """Fold batch norm and put quantizers where `formats` (layer -> format, absent: fp32) asks for integers.

    Layers of the formats in `learned` have step sizes that are trained.

    Ranges and scales are not set yet: run calibration batches with `observe(True)`, then `refresh_scales`.
    """
    network = fold_batch_norm(module)
    asked = {name: BITS[fmt] for name, fmt in formats.items() if fmt != "fp32"}
    modules = dict(network.named_modules())
    calls = [str(node.target) for node in network.graph.find_nodes(op="call_module")]
    if unknown := sorted(set(asked) - set(calls)):
        raise ValueError(f"formats name layers the network does not have: {', '.join(unknown)}")
    if shared := sorted(name for name in asked if calls.count(name) > 1):
        raise ValueError(f"layers that run more than once have no single input grid: {', '.join(shared)}")
    quantizers = _insert_quantizers(network, modules, quantized_tensors(network, asked))
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in asked:
            source = quantizers[node.args[0]]
            learns = formats[node.target] in learned
            layer = _quantized(modules[node.target], asked[node.target], source, learned=learns)
            network.set_submodule(node.target, layer)
    network.graph.lint()
    network.recompile()
    return network


def _quantized(layer: nn.Module, bits: int, source: ActivationQuantizer, *, learned: bool) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return QuantizedConv2d(layer, bits, source, learned=learned)
    if isinstance(layer, nn.Linear):
        return QuantizedLinear(layer, bits, source, learned=learned)
    raise TypeError(f"cannot quantize {type(layer).__name__}")


def quantized_tensors(network: fx.GraphModule, asked: Mapping[str, int]) -> set[fx.Node]:
    """Nodes whose output is held in 8-bit codes."""
    modules = dict(network.named_modules())
    held: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in asked:
            held |= {node.args[0], _result(node, modules)}
    for node in network.graph.nodes:
        if _keeps_codes(node, modules) and all(source in held for source in node.all_input_nodes):
            held.add(_result(node, modules))
    return {node for node in held if not any(user.op == "output" for user in node.users)}


def _result(node: fx.Node, modules: Mapping[str, nn.Module]) -> fx.Node:
    """Where a layer's or a sum's codes appear: after the ReLU that fuses with it, or at the node itself."""
    user = next(iter(node.users))
    fuses = user.op == "call_module" and isinstance(modules[str(user.target)], CLAMPING)
    return user if fuses and len(node.users) == 1 else node


def _keeps_codes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], (*ELEMENTWISE_MODULES, ChannelSelection))
    return node.op == "call_function" and node.target in ELEMENTWISE_FUNCTIONS + CONCATENATING + RESHAPING


def _moves_codes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node's output holds its input's codes in another order, hence on the same grid."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], ChannelSelection)
    return node.target in RESHAPING


def _insert_quantizers(
    network: fx.GraphModule, modules: Mapping[str, nn.Module], held: set[fx.Node]
) -> dict[fx.Node, ActivationQuantizer]:
    """Put a quantizer behind every held tensor, by its new node. Moved codes share their grid."""
    made: dict[fx.Node, ActivationQuantizer] = {}
    for node in list(network.graph.nodes):
        if node not in held:
            continue
        target = f"{node.name}_quantizer"
        if _moves_codes(node, modules) and node.args[0] in made:
            quantizer = made[node.args[0]]
            network.add_submodule(target, SharedGrid(quantizer))
        else:
            quantizer = _quantizer_for(node, modules)
            network.add_submodule(target, quantizer)
        with network.graph.inserting_after(node):
            call = network.graph.call_module(target, (node,))
        node.replace_all_uses_with(call, delete_user_cb=lambda user, call=call: user is not call)
        made[call] = quantizer
    return made


def _quantizer_for(node: fx.Node, modules: Mapping[str, nn.Module]) -> ActivationQuantizer:
    module = modules[str(node.target)] if node.op == "call_module" else None
    if isinstance(module, PixelGrid):
        return ActivationQuantizer(fixed=module.pixel_grid())
    if isinstance(module, nn.Hardsigmoid):
        return ActivationQuantizer(fixed=(1 / 255, 0))
    return ActivationQuantizer(ceiling=6.0 if isinstance(module, nn.ReLU6) else torch.inf)
