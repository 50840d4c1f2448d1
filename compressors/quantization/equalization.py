"""Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721): channels of one tensor get ranges of one size.

What a layer writes to channel i is divided by s_i and what the next one reads from it is multiplied by s_i. Between
them may lie what commutes with factors above 0: nothing, ReLU, pooling. ReLU6 and Hardswish do not, and pairs of layers
with one of them between stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

Layer = nn.Conv2d | nn.Linear
COMMUTING: tuple[type[nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
SWEEPS = 20  # over all pairs: each changes what its neighbours share
_DEAD = 1e-8  # a channel whose weights are all smaller on either side is left alone


@dataclass(frozen=True)
class Pair:
    """Two layers of which only the second reads what the first writes."""

    first: nn.Conv2d
    second: Layer


def equalizable(network: fx.GraphModule) -> tuple[Pair, ...]:
    """The pairs of a folded network, in its order."""
    modules = dict(network.named_modules())
    calls = [str(node.target) for node in network.graph.find_nodes(op="call_module")]
    found = []
    for node in network.graph.find_nodes(op="call_module"):
        first, reader = modules[str(node.target)], _only_reader(node)
        while reader is not None and _commutes(reader, modules):
            reader = _only_reader(reader)
        second = modules.get(str(reader.target)) if reader is not None and reader.op == "call_module" else None
        once = reader is not None and calls.count(str(node.target)) == calls.count(str(reader.target)) == 1
        if once and type(first) is nn.Conv2d and isinstance(second, Layer) and _fits(first, second):
            found.append(Pair(first, second))
    return tuple(found)


def _only_reader(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _commutes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether an operation gives s times its result for s times its input, channel by channel, for s above 0."""
    if node.op == "call_module":
        return type(modules[str(node.target)]) in COMMUTING
    return node.target is torch.flatten


def _fits(first: nn.Conv2d, second: Layer) -> bool:
    """Whether the second reads one number, or map, per channel of the first."""
    return (second.in_channels if isinstance(second, nn.Conv2d) else second.in_features) == first.out_channels


@torch.no_grad()
def equalize(network: fx.GraphModule, *, sweeps: int = SWEEPS) -> None:
    """Equalize every pair of a folded network, in place; its outputs stay what they are."""
    pairs = equalizable(network)
    for _ in range(sweeps):
        for pair in pairs:
            _scale(pair, factors(pair))


def factors(pair: Pair) -> Tensor:
    """s (channels,): the root of the largest weight that writes a channel over the largest that reads it."""
    writes, reads = pair.first.weight.abs().flatten(1).amax(1), _by_input(pair.second).abs().amax(1)
    alive = (writes > _DEAD) & (reads > _DEAD)
    return torch.where(alive, (writes / reads.clamp(min=_DEAD)).sqrt().clamp(min=_DEAD), torch.ones_like(writes))


def _by_input(layer: Layer) -> Tensor:
    """The weights that read each input channel: (in, weights of it)."""
    if isinstance(layer, nn.Linear):
        return layer.weight.T
    weight, groups = layer.weight, layer.groups
    parts = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, out / groups, in / groups, k, k)
    return parts.movedim(2, 1).flatten(0, 1).flatten(1)


def _scale(pair: Pair, by: Tensor) -> None:
    first, second = pair.first, pair.second
    first.weight.div_(by.reshape(-1, 1, 1, 1))
    if first.bias is not None:
        first.bias.div_(by)
    if isinstance(second, nn.Linear):
        second.weight.mul_(by)
        return
    shape = (second.groups, -1, *second.weight.shape[1:])
    factor = by.reshape(second.groups, 1, -1, 1, 1)
    second.weight.copy_((second.weight.reshape(shape) * factor).reshape(second.weight.shape))
