"""Early stopping: a stage ends when validation accuracy no longer rises, and keeps its best weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressors.batch_norm import estimate_batch_norm
from nas.training.augmentation import Feed
from nas.training.inference import CalibrationBatches, predict


class EarlyStopping:
    """Watches the accuracy on `images` uint8 (N, C, H, W); over after `patience` epochs without a new best."""

    def __init__(self, images: Tensor, labels: Tensor, patience: int) -> None:
        self._images, self._labels, self._patience = images, labels, patience
        self._best, self._since = -1, 0
        self._weights: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        return self._since >= self._patience

    def watch(self, network: nn.Module, feed: Feed) -> None:
        """After an epoch. Correct answers are counted, so that equal accuracies are equal.

        Accuracy is that with batch-norm statistics estimated for the weights as they are, as at the end of the stage:
        on a small data set running statistics lag by many epochs, and a network that learns seems not to.
        """
        running = copy_of_state(network)
        estimate_batch_norm(network, CalibrationBatches(feed))
        correct = int((predict(network, self._images).argmax(1) == self._labels.cpu()).sum())
        self._since += 1
        if correct > self._best:
            self._best, self._since = correct, 0
            self._weights = copy_of_state(network)
        network.load_state_dict(running)

    def restore(self, network: nn.Module) -> None:
        """Give the network the best weights seen."""
        if self._weights:
            with torch.no_grad():
                network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "since": self._since, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self._since = int(state["best"]), int(state["since"])
        self._weights = {name: tensor.to(self._images.device) for name, tensor in state["weights"].items()}


def copy_of_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
