"""Layers and quantizers are put into a folded network's torch.fx graph, where `placing.py` says that codes are held."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

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
from compressors.quantization.placing import UP_TO_ONE, PixelGrid, moves_codes, schemes_of
from compressors.support import Unsupported, check_floats, check_no_hooks, check_own_type, check_sizes, refuse


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
    quantizers = _insert_quantizers(network, modules, schemes_of(network, asked, scheme))
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
