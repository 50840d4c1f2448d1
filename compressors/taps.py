"""What a network holds at the ends of some of its parts, beside its output; weights are shared, nothing is changed.

A traced network runs its layers itself, and the module of a block is never called: hooks on blocks would hear nothing.
So the graph is copied and returns more. Its nodes know the parts that they come from, also after folding and
quantization.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from compressors.folding import traced


def tapped(network: nn.Module, parts: Sequence[str]) -> fx.GraphModule:
    """`network` as a function of images (N, C, H, W) that gives its output and a tuple with the value at each part's
    end, in the order of `parts`. It is in training mode, and frozen, wherever `network` is: the layers are the same.

    Raises ValueError for a part that the network does not run.
    """
    graph, found = _traced(network)
    if unknown := [part for part in parts if part not in found]:
        raise ValueError(f"network: expected parts among {', '.join(found)}, got {', '.join(unknown)}")
    (end,) = graph.find_nodes(op="output")
    end.args = ((end.args[0], tuple(found[part] for part in parts)),)
    graph.lint()
    return fx.GraphModule(network, graph)


def parts_of(network: nn.Module) -> tuple[str, ...]:
    """The names of the modules that the network runs, with those they are parts of, each where it begins."""
    return tuple(_traced(network)[1])


def scale_ends(network: nn.Module, images: Tensor) -> tuple[str, ...]:
    """The parts that end each size of maps, the largest first, for `images` (N, C, H, W).

    They are stage ends of a network whose names are not known. Of the largest size are the images themselves, enlarged
    where the network does so: it counts as none, nor do maps of a single pixel.
    """
    graph, found = _traced(network)
    with torch.no_grad():
        ShapeProp(fx.GraphModule(network, graph)).propagate(images)
    closing = {node: part for part, node in sorted(found.items(), key=lambda item: -item[0].count("."))}
    ends, largest = dict[int, str](), images.shape[-1]
    for node in graph.nodes:
        shape: Sequence[int] = getattr(node.meta.get("tensor_meta"), "shape", ())
        if len(shape) == 4:
            largest = max(largest, shape[-1])
            ends |= {shape[-1]: closing[node]} if node in closing else {}
    return tuple(ends[side] for side in sorted(ends, reverse=True) if 1 < side < largest)


def _traced(network: nn.Module) -> tuple[fx.Graph, dict[str, fx.Node]]:
    """A graph of one's own, and the last node of every part."""
    graph = _copied(network.graph) if isinstance(network, fx.GraphModule) else traced("", network)
    found: dict[str, fx.Node] = {}
    for node in graph.nodes:
        for name in _parts(node):
            found[name] = node
    return graph, found


def _copied(graph: fx.Graph) -> fx.Graph:
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph, {}))
    return copied


def _parts(node: fx.Node) -> set[str]:
    """The modules that a node lies in, and those that these lie in."""
    paths = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
    found = set()
    for path in paths:
        steps = path.split(".")
        found |= {".".join(steps[: i + 1]) for i in range(len(steps))}
    return found - {""}
