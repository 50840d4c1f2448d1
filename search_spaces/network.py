"""From an architecture to a torch network whose module paths are the layer names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import ConvBlock, Normalize
from search_spaces.initial import initialize
from search_spaces.own_code import importable
from search_spaces.sites import BlockSite


class Network(nn.Module):
    """Normalize, stem, stages, head, pooling, classifier: (N, C, H, W) in [0, 1] -> (N, num_classes) logits."""

    def __init__(
        self, architecture: Architecture, num_classes: int, *, mean: float, std: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        stem, head = architecture.stem, architecture.head
        self.normalize = Normalize(mean, std)
        self.stem = ConvBlock(
            architecture.input_channels, stem.width, kernel=3, stride=stem.stride, activation=stem.activation
        )
        self._stages: list[str] = []
        for site in architecture.blocks():
            stage, block = site.name.split(".")
            if stage not in self._stages:
                self._stages.append(stage)
                self.add_module(stage, nn.Sequential())
            self.get_submodule(stage).add_module(block, build_block(site))
        width = architecture.stages[-1].width
        self.head: nn.Module | None = None
        if head is not None:
            self.head = ConvBlock(width, head.width, kernel=1, stride=1, activation=head.activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.classifier = nn.Linear(head.width if head is not None else width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.normalize(x))
        for stage in self._stages:
            x = self.get_submodule(stage)(x)
        if self.head is not None:
            x = self.head(x)
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.classifier(x if self.dropout is None else self.dropout(x))
        return logits


def build_block(site: BlockSite) -> nn.Module:
    """The unpruned torch module of a block of any kind."""
    config, kind, inner = site.config, site.kind, site.inner_width
    with importable():  # a kind of the user's own
        block: nn.Module = _class_of(kind.module)(
            site.in_width,
            site.out_width,
            inner=inner,
            kernel=config.kernel,
            stride=site.stride,
            activation=config.activation,
            **kind.arguments(config, inner),
        )
    return block


def _class_of(module: str | Callable[..., Any]) -> Callable[..., Any]:
    """What `module:Class` names."""
    if not isinstance(module, str):
        return module
    path, _, name = module.partition(":")
    found: Callable[..., Any] = getattr(import_module(path), name)
    return found


def build_network(
    architecture: Architecture,
    num_classes: int,
    *,
    mean: float = 0.5,
    std: float = 0.25,
    seed: int | None = None,
    dropout: float = 0.0,
) -> Network:
    """Build the unpruned network, He-initialised; `seed` fixes the weights without touching torch's global state.

    `dropout` before the classifier belongs to the training: it is no part of the architecture.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed accelerators as well
        network = Network(architecture, num_classes, mean=mean, std=std, dropout=dropout)
        initialize(network, "classifier")
    return network
