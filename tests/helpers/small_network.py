"""A small residual network that exists already, read without a study's code being run: for tests of compressing it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.existing.known import Known, remember
from search_spaces.existing.reading import read_network
from search_spaces.existing.space import ExistingSpace

SPACE = {"base": "mine.nets:small", "input_size": 8, "trusted": True}
DATA = {"source": "digits", "train_images": 300}


class Small(nn.Module):
    """Three convolutions, the last with a skip, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(x + self.bn3(self.conv3(x)))
        return self.fc(x.mean([2, 3]))  # type: ignore[no-any-return]


def know_small() -> None:
    """Make it known under what a study says of it, with and without a small stem, as a reader would."""
    known = Known(read_network(Small()).blueprint)
    for stem in ("auto", "keep", "small"):
        remember(ExistingSpace.model_validate({**SPACE, "stem": stem}).asked(1), known)
