"""From a blueprint to a torch network whose module paths are the layer names."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces.blocks import Normalize, NormalizeChannels
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.blueprint import INPUT, Blueprint, Node
from search_spaces.existing.known import weights_of
from search_spaces.existing.ops import OPS
from search_spaces.initial import initialize

OWN_MODULES = ("normalize", "head_dropout")  # what stands here beside the nodes: no node is called so


class ExistingNetwork(nn.Module):
    """Normalize, then the nodes of a blueprint: (N, C, H, W) in [0, 1] -> (N, num_classes) logits.

    `dropout` stands before the head, and is no part of the blueprint.
    """

    def __init__(
        self, blueprint: Blueprint, num_classes: int, *, normalize: nn.Module | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self._nodes, self._head = blueprint.nodes, blueprint.head
        self.normalize = normalize
        made = set[str]()
        for node in blueprint.nodes:
            if OPS[node.op].module is not None and node.path not in made:
                fields = {**node.fields}
                if node.name == blueprint.head:
                    fields[OPS[node.op].width] = num_classes
                self._add(node.path, _module(node, fields))
                made.add(node.path)
        self.head_dropout = nn.Dropout(dropout) if dropout else None

    def _add(self, path: str, module: nn.Module) -> None:
        parent: nn.Module = self
        *folders, name = path.split(".")
        for folder in folders:
            if folder not in dict(parent.named_children()):
                parent.add_module(folder, nn.Module())
            parent = parent.get_submodule(folder)
        parent.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x if self.normalize is None else self.normalize(x)}
        for node in self._nodes:
            read = [values[name] for name in node.reads]
            if node.name == self._head and self.head_dropout is not None:
                read = [self.head_dropout(*read)]
            function = FUNCTIONS.get(node.op)
            x = values[node.name] = self.get_submodule(node.path)(*read) if function is None else function(read)
        return x


def _concatenate(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors, 1)


FUNCTIONS: Mapping[str, Callable[[list[Tensor]], Tensor]] = {
    "add": lambda read: operator.add(*read),
    "multiply": lambda read: operator.mul(*read),
    "concatenate": _concatenate,
    "flatten": lambda read: torch.flatten(read[0], 1),
}


def _module(node: Node, fields: Mapping[str, Any]) -> nn.Module:
    """The torch module of a node."""
    path, _, name = str(OPS[node.op].module).partition(":")
    made: nn.Module = getattr(import_module(path), name)(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    )
    return made


def build_existing(
    architecture: ExistingArchitecture,
    num_classes: int,
    *,
    mean: float = 0.5,
    std: float = 0.25,
    seed: int | None = None,
    dropout: float = 0.0,
    begins: bool = True,
) -> ExistingNetwork:
    """Build the uncompressed network, with the weights that it begins with where they fit, else He-initialised.

    Without `begins` all weights are random, and those that it begins with need not be known.

    `seed` fixes what is drawn without touching torch's global state; `mean` and `std` are those of the data.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed accelerators as well
        network = ExistingNetwork(
            architecture.blueprint, num_classes, normalize=_normalize(architecture, mean, std), dropout=dropout
        )
        initialize(network, architecture.blueprint.by_name[architecture.blueprint.head].path)
    if architecture.weights and begins:
        begin_with(network, weights_of(architecture.weights))
    return network


def _normalize(architecture: ExistingArchitecture, mean: float, std: float) -> nn.Module:
    if architecture.pixels is None:
        return Normalize(mean, std)
    means, stds = architecture.pixels.mean, architecture.pixels.std
    return Normalize(means[0], stds[0]) if len(means) == len(stds) == 1 else NormalizeChannels(means, stds)


def begin_with(network: nn.Module, weights: Mapping[str, Tensor] | Path) -> None:
    """Load the weights whose names and shapes are the network's; the rest, a head of other classes, stays as it is."""
    given = load_file(weights) if isinstance(weights, Path) else weights
    own = network.state_dict()
    fitting = {name: given[name] for name, value in own.items() if name in given and given[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
