"""The two networks of Deep Compression, digits scaled to 28 x 28, and a training loop for them.

Plain torch modules: what compresses them are the steps of `compressors`, as in a search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, TEST = 28, 500
BATCH, RATE, WEIGHT_DECAY = 64, 1e-3, 1e-4


class Mlp(nn.Module):
    """784-300-100-10 (LeNet-300-100): 266 610 parameters. (N, 1, 28, 28) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1, self.hidden2, self.classify = nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.hidden1(torch.flatten(x, 1)))
        found: Tensor = self.classify(self.relu2(self.hidden2(x)))
        return found


class LeNet5(nn.Module):
    """Caffe's LeNet-5, with 20, 50 and 500 channels: 431 080 parameters. (N, 1, 28, 28) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.pool1, self.pool2 = nn.MaxPool2d(2), nn.MaxPool2d(2)
        self.hidden, self.relu, self.classify = nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        found: Tensor = self.classify(self.relu(self.hidden(torch.flatten(x, 1))))
        return found


NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": Mlp, "lenet5": LeNet5}


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,), of training and of test."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The training images in their order."""
        return list(zip(torch.split(self.images, 256), torch.split(self.labels, 256), strict=True))


def digits(seed: int, most: int | None = None) -> Digits:
    """scikit-learn's digits, scaled bilinearly; 500 of them, each class in proportion, are for the test.

    At most `most` are for training.
    """
    table = load_digits()
    split = train_test_split(table.images / 16, table.target, test_size=TEST, stratify=table.target, random_state=seed)
    images, test_images, labels, test_labels = (torch.from_numpy(np.asarray(part)) for part in split)
    scaled = [
        F.interpolate(part[:, None].float(), (SIDE, SIDE), mode="bilinear", align_corners=False)
        for part in (images, test_images)
    ]
    return Digits(scaled[0][:most], labels.long()[:most], scaled[1], test_labels.long())


@dataclass(frozen=True)
class Hooks:
    """What is done in a stage besides training: before each epoch and each step with the share that is done, and after
    each step of the optimizer; what is added to the loss.
    """

    before_epoch: Callable[[nn.Module, float], None] = lambda *_: None
    before_step: Callable[[nn.Module, float], None] = lambda *_: None
    after_step: Callable[[], None] = lambda: None
    penalty: Callable[[nn.Module], Tensor] | None = None


def train(network: nn.Module, data: Digits, epochs: int, *, rate: float = RATE, seed: int, hooks: Hooks) -> None:
    """Train in place with Adam; the rate falls along half a cosine to 0."""
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=WEIGHT_DECAY)
    steps = math.ceil(len(data.labels) / BATCH)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        network.train()
        hooks.before_epoch(network, epoch / epochs)
        for step, batch in enumerate(_batches(len(data.labels), generator)):
            done = (epoch + step / steps) / epochs
            hooks.before_step(network, done)
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))
            loss = F.cross_entropy(network(data.images[batch]), data.labels[batch])
            if hooks.penalty is not None:
                loss = loss + hooks.penalty(network)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            hooks.after_step()


def _batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.split(torch.randperm(count, generator=generator), BATCH)
