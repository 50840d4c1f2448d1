"""Early stopping: when a stage is over, and which weights are kept."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas.data import Images
from nas.training.augmentation import Augmentation, Feed
from nas.training.early_stopping import EarlyStopping

IMAGES, LABELS = torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
FEED = Feed.of(
    Images(np.zeros((10, 1, 1, 1), np.uint8), LABELS.numpy()),
    torch.device("cpu"),
    batch_size=5,
    seed=0,
    augmentation=Augmentation(flip=False, crop_padding=0),
)
SCORES = (4, 3, 2, 1)  # correct answers of a network that always says this class


def says(network: nn.Module, label: int) -> nn.Module:
    with torch.no_grad():
        network[1].bias.copy_(torch.eye(4)[label])  # type: ignore[index]
    return network


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_against_the_definition(answers: list[int], patience: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 4))
    nn.init.zeros_(network[1].weight)
    stopping = EarlyStopping(IMAGES, LABELS, patience)
    for epoch, label in enumerate(answers):
        stopping.watch(says(network, label), FEED)
        scores = [SCORES[answer] for answer in answers[: epoch + 1]]
        best = scores.index(max(scores))  # the first of equals
        assert stopping.is_over == (epoch - best >= patience)
        restored = EarlyStopping(IMAGES, LABELS, patience)
        restored.load_state_dict(stopping.state_dict())
        assert restored.is_over == stopping.is_over
        pupil = nn.Sequential(nn.Flatten(), nn.Linear(1, 4))
        restored.restore(pupil)
        assert int(pupil(torch.zeros(1, 1)).argmax()) == answers[best]


def test_statistics_of_batch_norm_are_those_of_the_weights_while_it_watches() -> None:
    """Running ones of long ago would have this network say class 3; black images have nothing but the bias left."""
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(-100.0)  # type: ignore[operator, union-attr]
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(1, 4))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[0.0], [0.0], [0.0], [9.0]]))
        network[2].bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    stopping = EarlyStopping(IMAGES, LABELS, 1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stopping.watch(network, FEED)
    assert stopping.state_dict()["best"] == SCORES[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "goes on as it was"
    stopping.restore(network)
    assert float(norm.running_mean) == 0  # type: ignore[arg-type]


def test_nothing_watched_restores_nothing() -> None:
    network = says(nn.Sequential(nn.Flatten(), nn.Linear(1, 4)), 2)
    EarlyStopping(IMAGES, LABELS, 1).restore(network)
    assert int(network[1].bias.argmax()) == 2
