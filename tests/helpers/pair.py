"""Two layers with a batch norm between them, small enough to see every number, and channel groups as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Channels:
    """A group as plain data: what `compressors` asks for is no more than this."""

    name: str
    width: int
    members: tuple[tuple[str, int], ...]
    spans: tuple[tuple[tuple[int, ...], ...] | None, ...] = ()
    unit: int = 1


MIDDLE = Channels("middle", 3, (("first", 0), ("norm", 0), ("second", 1)))
ROWS = ((3.0, 0.0), (2.0, 2.0), (1.0, 0.5))  # L1: 3, 4, 1.5; L2: 3, 2.8, 1.1


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 1, 1)
        self.first.weight.data = torch.tensor(ROWS)[:, :, None, None]
        self.first.bias.data = torch.tensor([0.1, 0.2, 0.3])
        self.norm.weight.data = torch.tensor([0.1, 0.2, -5.0])
        self.second.weight.data = torch.ones(1, 3, 1, 1)
