"""Which tensors of a folded network are quantized: layers and quantizers are put into its torch.fx graph.

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

from compressors.folding import check_read_by_its_call, fold_batch_norm, only_input
from compressors.formats import UNSIGNED_8, ActivationScheme, Format, format_named
from compressors.low_rank.paths import of_factors
from compressors.quantization.activations import ActivationQuantizer, SharedGrid
from compressors.quantization.modules import QuantizedConv2d, QuantizedLayer, QuantizedLinear
from compressors.quantization.normed import (
    NormedConv2d,
    NormedLayer,
    NormedLinear,
    QuantizedNormedConv2d,
    QuantizedNormedLinear,
    normed,
)
from compressors.support import Unsupported, check_floats, check_no_hooks, check_own_type, check_sizes, refuse

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


def prepare(
    module: nn.Module,
    formats: Mapping[str, str],
    *,
    learned: Collection[str] = (),
    scheme: ActivationScheme = UNSIGNED_8,
    keep_norms: bool = False,
) -> fx.GraphModule:
    """Fold batch norm and put quantizers where `formats` (layer -> name in FORMATS, absent: fp32) asks for integers.

    Factors of a layer have the format of the whole. Layers of the formats in `learned`, and of those that always do,
    train their step sizes; activations lie on the grids of `scheme`. With `keep_norms` each batch norm stays alive
    within its layer, until `fold_norms`.

    Ranges and scales are not set yet: `calibrate` does that. Raises Unsupported for layers that cannot be quantized.
    """
    asked, learning = _asked(formats), {format_named(name) for name in learned}
    network = fold_batch_norm(module, normed) if keep_norms else fold_batch_norm(module)
    modules = dict(network.named_modules())
    calls = [str(node.target) for node in network.graph.find_nodes(op="call_module")]
    asked = of_factors(asked, calls)
    if unknown := sorted(set(asked) - set(calls)):
        raise ValueError(f"formats name layers the network does not have: {', '.join(unknown)}")
    if shared := sorted(name for name in asked if calls.count(name) > 1):
        raise ValueError(f"layers that run more than once have no single input grid: {', '.join(shared)}")
    for name in asked:
        _check_layer(name, modules[name])
        check_read_by_its_call(network, name)
    quantizers = _insert_quantizers(network, modules, _schemes(network, asked, scheme))
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target in asked:
            fmt, source = asked[node.target], quantizers[node.args[0]]
            kind = QUANTIZED[type(modules[node.target])]
            learns = fmt.trains_steps or fmt in learning
            network.set_submodule(node.target, kind(modules[node.target], fmt, source, learned=learns))
    network.graph.lint()
    network.recompile()
    return network


def _asked(formats: Mapping[str, str]) -> dict[str, Format]:
    """Layers that are to be integers, by name."""
    found: dict[str, Format] = {}
    for name, fmt in formats.items():
        try:
            found[name] = format_named(fmt)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return {name: fmt for name, fmt in found.items() if not fmt.is_float}


def _check_layer(path: str, layer: nn.Module) -> None:
    """Refuse layers that quantized ones would compute otherwise, or that no file could hold."""
    if isinstance(layer, NormedLayer):
        layer = layer.folded()
    check_own_type(path, layer, (nn.Conv2d, nn.Linear), "quantize")
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    check_no_hooks(path, layer)
    check_floats(path, layer, (torch.float32,))
    check_sizes(path, layer)
    if isinstance(layer, nn.Conv2d):
        if layer.padding_mode != "zeros":
            raise refuse(path, layer, "padding_mode", repr(layer.padding_mode), "'zeros'")
        if isinstance(layer.padding, str):
            raise refuse(path, layer, "padding", repr(layer.padding), "numbers of pixels")


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


def _schemes(
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


def _insert_quantizers(
    network: fx.GraphModule, modules: Mapping[str, nn.Module], schemes: Mapping[fx.Node, ActivationScheme]
) -> dict[fx.Node, ActivationQuantizer]:
    """Put a quantizer behind every held tensor, by its new node. Moved codes share their grid."""
    made: dict[fx.Node, ActivationQuantizer] = {}
    for node in list(network.graph.nodes):
        if node not in schemes:
            continue
        target = f"{node.name}_quantizer"
        if moves_codes(node, modules) and node.args[0] in made:
            quantizer = made[node.args[0]]
            network.add_submodule(target, SharedGrid(quantizer))
        else:
            quantizer = _quantizer_for(node, modules, schemes[node])
            network.add_submodule(target, quantizer)
        with network.graph.inserting_after(node):
            call = network.graph.call_module(target, (node,))
        node.replace_all_uses_with(call, delete_user_cb=lambda user, call=call: user is not call)
        made[call] = quantizer
    return made


def _quantizer_for(node: fx.Node, modules: Mapping[str, nn.Module], scheme: ActivationScheme) -> ActivationQuantizer:
    """The quantizer behind a tensor; its grid is fixed where the values are known beforehand."""
    module = modules[str(node.target)] if node.op == "call_module" else None
    if module is not None and isinstance(module, (PixelGrid, nn.ReLU6, *UP_TO_ONE)):
        check_no_hooks(str(node.target), module)
    if isinstance(module, PixelGrid):
        scheme = replace(scheme, bits=8)  # what is given in 8 bits needs no fewer
        return ActivationQuantizer(fixed=_pixel_grid(node, module, scheme), scheme=scheme)
    if type(module) in UP_TO_ONE:
        steps = scheme.high if scheme.symmetric else scheme.levels
        step = 2.0 ** -steps.bit_length() if scheme.powers_of_two else 1 / steps
        return ActivationQuantizer(fixed=(step, 0 if scheme.symmetric else scheme.low), scheme=scheme)
    if isinstance(module, nn.ReLU6) and (module.min_val, module.max_val) != (0, 6):
        raise refuse(str(node.target), module, "bounds", (module.min_val, module.max_val), "(0, 6)")
    return ActivationQuantizer(ceiling=6.0 if type(module) is nn.ReLU6 else torch.inf, scheme=scheme)


def _pixel_grid(node: fx.Node, module: PixelGrid, scheme: ActivationScheme) -> tuple[float, int] | None:
    """The grid on which pixels are exact, where the scheme has room for them."""
    if only_input(node).op != "placeholder":
        raise Unsupported(f"{node.target}: has a grid of pixels, supported where it reads the network's input alone")
    scale, zero_point = module.pixel_grid()
    return (scale, zero_point + scheme.low) if scheme.holds_pixels else None


QUANTIZED: Mapping[type[nn.Module], type[QuantizedLayer]] = {
    nn.Conv2d: QuantizedConv2d,
    NormedConv2d: QuantizedNormedConv2d,
    nn.Linear: QuantizedLinear,
    NormedLinear: QuantizedNormedLinear,
}
