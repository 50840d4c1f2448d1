"""Which tensors of a folded network are held in 8-bit codes, and on grids of which scheme.

A layer below fp32 gets integer inputs and outputs. An element-wise operation, pooling, concatenation or a move of data
whose inputs are all quantized gives a quantized output too, so that integer regions stay whole. The network's output
stays float.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import fx, nn

from compressors.folding import only_input
from compressors.formats import ActivationScheme, Format
from compressors.quantization.normed import NormedLinear

CLAMPING: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
ELEMENTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.SiLU, nn.Tanh, nn.GELU, nn.ELU, nn.LeakyReLU,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
UP_TO_ONE: tuple[type[nn.Module], ...] = (nn.Hardsigmoid, nn.Sigmoid)  # from 0 on, whatever they are given
SELECTING: tuple[type[nn.Module], ...] = (nn.MaxPool2d,)  # what comes out went in: codes stay on their grid
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


def quantized_tensors(network: fx.GraphModule, asked: Collection[str]) -> set[fx.Node]:
    """Nodes whose output is held in 8-bit codes.

    Not the network's output, nor what is only moved to get there; but a convolution that is the last layer computes on
    integers only where its own result is held.
    """
    modules = dict(network.named_modules())
    held: set[fx.Node] = set()
    convolved: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in asked:
            held |= {only_input(node), _result(node, modules)} | _moved_pixels(only_input(node), modules)
            if not isinstance(modules[str(node.target)], nn.Linear | NormedLinear):
                convolved.add(_result(node, modules))
    for node in network.graph.nodes:
        if _keeps_codes(node, modules) and all(source in held for source in node.all_input_nodes):
            held.add(_result(node, modules))
    return {node for node in held if not _is_output(node) and (node in convolved or not _leads_out(node, modules))}


def _moved_pixels(node: fx.Node, modules: Mapping[str, nn.Module]) -> set[fx.Node]:
    """What leads from normalized pixels to a node that only moves them; nothing where there is more between."""
    way: set[fx.Node] = set()
    while node.op in ("call_module", "call_function"):
        way.add(node)
        if node.op == "call_module" and isinstance(modules[str(node.target)], PixelGrid):
            return way
        if not moves_codes(node, modules):
            break
        node = node.all_input_nodes[0]
    return set()


def _is_output(node: fx.Node) -> bool:
    return any(user.op == "output" for user in node.users)


def _leads_out(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether all that becomes of a node is that it is moved, and then given out."""
    readers = list(node.users)
    moved = len(readers) == 1 and readers[0].op != "output" and moves_codes(readers[0], modules)
    return _is_output(node) or (moved and _leads_out(readers[0], modules))


def schemes_of(
    network: fx.GraphModule, asked: Mapping[str, Format], scheme: ActivationScheme
) -> dict[fx.Node, ActivationScheme]:
    """The scheme of every node whose output is held in codes: of powers of two around layers of fixed point, and of
    what is computed from such codes alone.
    """
    modules, held = dict(network.named_modules()), quantized_tensors(network, asked)
    fixed: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in asked and asked[str(node.target)].is_fixed_point:
            fixed |= {only_input(node), _result(node, modules)}
    for node in reversed(network.graph.nodes):
        if node in fixed and moves_codes(node, modules):
            fixed |= {source for source in node.all_input_nodes if source in held}  # whose grid it shares
    for node in network.graph.nodes:
        if _keeps_codes(node, modules) and all(source in fixed for source in node.all_input_nodes):
            fixed.add(_result(node, modules))
    return {node: replace(scheme, powers_of_two=True) if node in fixed else scheme for node in held}


def _result(node: fx.Node, modules: Mapping[str, nn.Module]) -> fx.Node:
    """Where a layer's or a sum's codes appear: after the ReLU that fuses with it, or at the node itself."""
    user = next(iter(node.users))
    fuses = user.op == "call_module" and type(modules[str(user.target)]) in CLAMPING
    return user if fuses and len(node.users) == 1 else node


def _keeps_codes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) in ELEMENTWISE_MODULES + SELECTING or isinstance(module, ChannelSelection)
    return node.op == "call_function" and node.target in ELEMENTWISE_FUNCTIONS + CONCATENATING + RESHAPING


def moves_codes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node's output holds codes of its input, some or all of them, hence on the same grid."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) in SELECTING or isinstance(module, ChannelSelection)
    return node.target in RESHAPING
