"""The network as it is executed: traced with torch.fx, batch norm folded into the layer before it.

A batch norm of maps that has no convolution of its own is executed as one: depthwise, of one pixel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval

from compressors.biases import give_biases
from compressors.support import (
    FLOATS,
    BatchNorm,
    Unsupported,
    check_floats,
    check_no_hooks,
    check_own_forward,
    check_own_type,
    check_sizes,
    refuse,
)

# What does nothing in eval mode.
IDLE = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity,
)  # fmt: skip
Layer = nn.Conv2d | nn.Linear
NORMED: Mapping[type[nn.Module], type[nn.Module]] = {nn.BatchNorm2d: nn.Conv2d, nn.BatchNorm1d: nn.Linear}
"""Batch norm -> the layer that it is folded into."""
Join = Callable[[Layer, BatchNorm], nn.Module]
"""Makes one layer of a convolution or a linear layer and the batch norm behind it."""


class LeafTracer(fx.Tracer):
    """Traces into everything but torch's own layers and modules that say `is_traced_as_leaf`."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return getattr(m, "is_traced_as_leaf", False) or super().is_leaf_module(m, module_qualified_name)


def traced(path: str, module: nn.Module) -> fx.Graph:
    """The operations of a module. Raises Unsupported where they depend on values."""
    try:
        return LeafTracer().trace(module)
    except (fx.proxy.TraceError, TypeError) as error:
        where = f"{path or 'the network'} ({type(module).__name__})"
        raise Unsupported(f"{where}: cannot be traced, for it is no plain graph: {error}") from None


def folded(layer: Layer, norm: BatchNorm) -> Layer:
    """The layer that computes what both do in eval mode, with a bias."""
    return fuse_conv_bn_eval(layer, norm) if isinstance(layer, nn.Conv2d) else _folded_linear(layer, norm)


def _folded_linear(linear: nn.Linear, norm: BatchNorm) -> nn.Linear:
    """torch's `fuse_linear_bn_eval` takes no norm without scales, and freezes the bias of a layer that had none."""
    made, mean, var = copy.deepcopy(linear), norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    with torch.no_grad():
        factor = (var + norm.eps).rsqrt() * (norm.weight if norm.affine else 1)
        bias = (mean.new_zeros(()) if linear.bias is None else linear.bias) - mean
        bias = bias * factor + (norm.bias if norm.affine else 0)
        made.weight = nn.Parameter(linear.weight * factor[:, None], requires_grad=linear.weight.requires_grad)
        made.bias = nn.Parameter(bias, requires_grad=linear.weight.requires_grad)
    return made


def fold_batch_norm(module: nn.Module, join: Join = folded) -> fx.GraphModule:
    """A copy of `module` without batch norm, dropout and identity layers, and with a bias in every layer; its outputs
    are those of `module.eval()`.

    What `join` makes of a layer and its batch norm has the layer's name; by default that is a layer with a bias. A
    BatchNorm2d that reads no convolution, or one that runs twice, that others read too or that has a norm already, is
    joined with a depthwise convolution that changes nothing, and keeps its name. A BatchNorm1d is taken to read
    features (N, C).

    Raises Unsupported for a batch norm that cannot be folded: of another class than BatchNorm1d and BatchNorm2d,
    without running statistics, of another size than the layer before it, or, of a BatchNorm1d, without a linear layer
    that runs once and that nothing else reads; for hooks on what folding removes, and for a forward that was replaced
    on an instance.
    """
    check_no_hooks("", module)
    _check_can_be_copied(module)
    source = copy.deepcopy(module).eval()
    network, joined = fx.GraphModule(source, traced("", source)), set[str]()
    for node in list(network.graph.nodes):
        layer = network.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(layer, _BatchNorm):
            joined.add(_fold(network, node, layer, join, joined))
        elif type(layer) in IDLE:
            assert layer is not None
            check_no_hooks(str(node.target), layer)
            node.replace_all_uses_with(only_input(node))
            network.graph.erase_node(node)
    network.graph.lint()
    network.delete_all_unused_submodules()
    give_biases(network)
    network.recompile()
    return network


def _check_can_be_copied(module: nn.Module) -> None:
    """Refuse what a copy would take from the original: weights that hooks compute from others, as old-style weight
    norms do, and a forward of one instance, which runs the layers it was made with.
    """
    for path, part in module.named_modules():
        check_own_forward(path, part)
        computed = [name for name, value in vars(part).items() if isinstance(value, torch.Tensor) and not value.is_leaf]
        if computed:
            check_no_hooks(path, part)
            raise refuse(path, part, "tensors computed from others:", ", ".join(computed), "parameters and buffers")


def check_read_by_its_call(network: fx.GraphModule, path: str) -> None:
    """Refuse a layer whose weights the network reads beside calling it: they are about to be others."""
    attributes = [str(node.target) for node in network.graph.find_nodes(op="get_attr")]
    if read := [name for name in attributes if name.rpartition(".")[0] == path]:
        raise refuse(
            path, network.get_submodule(path), "also read outside its call:", ", ".join(read), "its call alone"
        )


def only_input(node: fx.Node) -> fx.Node:
    """The tensor that a layer reads. Raises Unsupported where it is called with anything else beside it."""
    if node.kwargs or len(node.args) != 1 or not isinstance(node.args[0], fx.Node):
        raise Unsupported(
            f"{node.target}: called with {node.args} and {node.kwargs}, supported: one tensor by position"
        )
    return node.args[0]


def _fold(network: fx.GraphModule, node: fx.Node, norm: nn.Module, join: Join, joined: Collection[str]) -> str:
    """Fold one batch norm; the name of the layer that it is joined with, which is none of those `joined` before."""
    path, previous = str(node.target), only_input(node)
    before = str(previous.target)
    check_own_type(path, norm, tuple(NORMED), "fold")
    assert isinstance(norm, BatchNorm)
    _check_norm(path, norm)
    layer = network.get_submodule(before) if previous.op == "call_module" else None
    if isinstance(layer, NORMED[type(norm)]) and before not in joined and _is_its_own(network, previous):
        assert isinstance(layer, Layer)
        _check_pair(before, layer, path, norm)
        check_read_by_its_call(network, before)
        network.set_submodule(before, join(layer, norm))
        node.replace_all_uses_with(previous)
        network.graph.erase_node(node)
        return before
    if isinstance(norm, nn.BatchNorm1d):
        what = before if layer is None else f"{before} ({type(layer).__name__})"
        raise refuse(path, norm, "reads", what, "a linear layer that runs once and that nothing else reads")
    check_read_by_its_call(network, path)
    network.set_submodule(path, join(idle_convolution(norm), norm))
    return path


def idle_convolution(norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A depthwise convolution of one pixel that gives what it reads, for a norm to be folded into."""
    like, channels = norm.running_mean, norm.num_features
    assert like is not None
    conv = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, channels, channels, 1, groups=channels, bias=False, device=like.device, dtype=like.dtype
    )
    assert isinstance(conv, nn.Conv2d)
    nn.init.ones_(conv.weight).requires_grad_(norm.affine and norm.weight.requires_grad)
    return conv.train(norm.training)


def _check_norm(path: str, norm: BatchNorm) -> None:
    """Refuse a norm that computes something else than its sizes and statistics say, or has none."""
    check_no_hooks(path, norm)
    check_floats(path, norm, FLOATS)
    check_sizes(path, norm)
    if norm.running_mean is None or norm.running_var is None:
        raise refuse(path, norm, "track_running_stats", norm.track_running_stats, "True, with running statistics")


def _check_pair(name: str, layer: Layer, path: str, norm: BatchNorm) -> None:
    """Refuse what `folded` would compute otherwise than the two layers do."""
    check_own_type(name, layer, tuple(NORMED.values()), "fold batch norm into")
    check_no_hooks(name, layer)
    check_floats(name, layer, FLOATS)
    check_sizes(name, layer)
    channels = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
    if norm.num_features != channels:
        raise refuse(path, norm, "num_features", norm.num_features, f"{channels}, the channels of {name}")
    assert norm.running_mean is not None
    if norm.running_mean.dtype != layer.weight.dtype:
        raise refuse(path, norm, "dtype", norm.running_mean.dtype, f"{layer.weight.dtype}, that of {name}")


def _is_its_own(folded: fx.GraphModule, layer: fx.Node) -> bool:
    """Whether a layer runs once and one node reads its result."""
    calls = folded.graph.find_nodes(op="call_module", target=layer.target)
    return len(calls) == 1 and len(layer.users) == 1
