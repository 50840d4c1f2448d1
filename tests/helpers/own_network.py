"""A network such as a user has, with weights in every kind of layer and a batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Own(nn.Module):
    """Two convolutions, the first with a batch norm, and a linear layer behind the average over the map."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.last = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(torch.relu(self.second(x)).mean([2, 3]))


def own(*, seed: int = 0, seen: bool = False, classes: int = 10) -> Own:
    """One with weights of this seed; `seen`: its batch norm has seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Own(classes)
        if seen:
            network(torch.rand(8, 1, 8, 8))
    return network.eval()
