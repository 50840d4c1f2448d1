"""A network of one's own, which `mlp-compress.yaml` names `perceptron:mlp`."""

from __future__ import annotations

from torch import nn


def mlp() -> nn.Module:
    """The multilayer perceptron 784-128-10 of grey images of 28 pixels: (N, 1, 28, 28) -> (N, 10) logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 128), nn.ReLU(), nn.Linear(128, 10))
