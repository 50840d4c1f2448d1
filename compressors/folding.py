"""The network as it is executed: traced with torch.fx, batch norm folded into the convolution before it."""

from __future__ import annotations

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class LeafTracer(fx.Tracer):
    """Traces into everything but torch's own layers and modules that say `is_traced_as_leaf`."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return getattr(m, "is_traced_as_leaf", False) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norm(module: nn.Module) -> fx.GraphModule:
    """A copy of `module` without batch norm and dropout layers; its outputs are those of `module.eval()`.

    Every folded convolution keeps its name and has a bias.
    """
    source = copy.deepcopy(module).eval()
    folded = fx.GraphModule(source, LeafTracer().trace(source))
    for node in list(folded.graph.nodes):
        layer = folded.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(layer, nn.BatchNorm2d):
            _fold_into_previous(folded, node)
        elif isinstance(layer, nn.Dropout):  # does nothing in eval mode
            node.replace_all_uses_with(node.args[0])
            folded.graph.erase_node(node)
    folded.graph.lint()
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _fold_into_previous(folded: fx.GraphModule, node: fx.Node) -> None:
    previous = node.args[0]
    if not (isinstance(previous, fx.Node) and previous.op == "call_module" and _is_its_own(folded, previous)):
        raise ValueError(f"batch norm {node.target} does not follow a convolution of its own")
    name = str(previous.target)
    conv, norm = folded.get_submodule(name), folded.get_submodule(str(node.target))
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"batch norm {node.target} follows {type(conv).__name__}, expected Conv2d")
    folded.set_submodule(name, fuse_conv_bn_eval(conv, norm))
    node.replace_all_uses_with(previous)
    folded.graph.erase_node(node)


def _is_its_own(folded: fx.GraphModule, layer: fx.Node) -> bool:
    """Whether a layer runs once and one node reads its result."""
    calls = folded.graph.find_nodes(op="call_module", target=layer.target)
    return len(calls) == 1 and len(layer.users) == 1
