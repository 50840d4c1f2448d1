"""The network as it is executed: traced with torch.fx, batch norm folded into the convolution before it.

A batch norm that has no convolution of its own is executed as one: depthwise, of one pixel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from compressors.biases import give_biases
from compressors.support import (
    FLOATS,
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
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
Join = Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Module]
"""Makes one layer of a convolution and the batch norm behind it."""


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


def fold_batch_norm(module: nn.Module, join: Join = fuse_conv_bn_eval) -> fx.GraphModule:
    """A copy of `module` without batch norm, dropout and identity layers, and with a bias in every layer; its outputs
    are those of `module.eval()`.

    What `join` makes of a convolution and its batch norm has the convolution's name; by default that is a convolution
    with a bias. A norm that reads no convolution, or one that runs twice or that others read too, is joined with a
    depthwise convolution that changes nothing, and keeps its name. A norm of features is folded into the linear layer
    before it, whatever `join` makes of others.

    Raises Unsupported for a batch norm that cannot be folded: of another class than BatchNorm1d and BatchNorm2d,
    without running statistics, of another size than the layer before it, or of features behind anything but a linear
    layer of its own; for hooks on what folding removes, and for a forward that was replaced on an instance.
    """
    check_no_hooks("", module)
    _check_can_be_copied(module)
    source = copy.deepcopy(module).eval()
    folded = fx.GraphModule(source, traced("", source))
    for node in list(folded.graph.nodes):
        layer = folded.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(layer, _BatchNorm):
            _fold(folded, node, layer, join)
        elif type(layer) in IDLE:
            assert layer is not None
            check_no_hooks(str(node.target), layer)
            node.replace_all_uses_with(only_input(node))
            folded.graph.erase_node(node)
    folded.graph.lint()
    folded.delete_all_unused_submodules()
    give_biases(folded)
    folded.recompile()
    return folded


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


def _fold(folded: fx.GraphModule, node: fx.Node, norm: nn.Module, join: Join) -> None:
    path, previous = str(node.target), only_input(node)
    check_own_type(path, norm, NORMS, "fold")
    assert isinstance(norm, NORMS)
    _check_norm(path, norm)
    name, is_its_own = str(previous.target), previous.op == "call_module" and _is_its_own(folded, previous)
    layer = folded.get_submodule(name) if is_its_own else None
    made: nn.Module | None = None
    if isinstance(norm, nn.BatchNorm1d):
        if not isinstance(layer, nn.Linear):
            raise Unsupported(f"batch norm {path} (BatchNorm1d) does not follow a linear layer of its own")
        _check_pair(name, layer, path, norm)
        made = fuse_linear_bn_eval(layer, norm)
    elif isinstance(layer, nn.Conv2d):
        _check_pair(name, layer, path, norm)
        made = join(layer, norm)
    if made is not None:
        check_read_by_its_call(folded, name)
        folded.set_submodule(name, made)
        node.replace_all_uses_with(previous)
        folded.graph.erase_node(node)
    else:
        assert isinstance(norm, nn.BatchNorm2d)
        check_read_by_its_call(folded, path)
        folded.set_submodule(path, join(idle_convolution(norm), norm))


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


def _check_norm(path: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Refuse a norm that computes something else than its sizes and statistics say, or has none."""
    check_no_hooks(path, norm)
    check_floats(path, norm, FLOATS)
    check_sizes(path, norm)
    if norm.running_mean is None or norm.running_var is None:
        raise refuse(path, norm, "track_running_stats", norm.track_running_stats, "True, with running statistics")


def _check_pair(name: str, conv: nn.Conv2d | nn.Linear, path: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Refuse what torch's fusion would compute otherwise than the two layers do."""
    check_own_type(name, conv, (nn.Conv2d, nn.Linear), "fold batch norm into")
    check_no_hooks(name, conv)
    check_floats(name, conv, FLOATS)
    check_sizes(name, conv)
    channels = conv.out_channels if isinstance(conv, nn.Conv2d) else conv.out_features
    if norm.num_features != channels:
        raise refuse(path, norm, "num_features", norm.num_features, f"{channels}, the channels of {name}")
    assert norm.running_mean is not None
    if norm.running_mean.dtype != conv.weight.dtype:
        raise refuse(path, norm, "dtype", norm.running_mean.dtype, f"{conv.weight.dtype}, that of {name}")


def _is_its_own(folded: fx.GraphModule, layer: fx.Node) -> bool:
    """Whether a layer runs once and one node reads its result."""
    calls = folded.graph.find_nodes(op="call_module", target=layer.target)
    return len(calls) == 1 and len(layer.users) == 1
