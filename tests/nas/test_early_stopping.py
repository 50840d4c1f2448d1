"""Early stopping: when a phase is over, and which weights are kept."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas.early_stopping import EarlyStopping

IMAGES, LABELS = torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
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
        stopping.watch(says(network, label))
        scores = [SCORES[answer] for answer in answers[: epoch + 1]]
        best = scores.index(max(scores))  # the first of equals
        assert stopping.is_over == (epoch - best >= patience)
        restored = EarlyStopping(IMAGES, LABELS, patience)
        restored.load_state_dict(stopping.state_dict())
        assert restored.is_over == stopping.is_over
        pupil = nn.Sequential(nn.Flatten(), nn.Linear(1, 4))
        restored.restore(pupil)
        assert int(pupil(torch.zeros(1, 1)).argmax()) == answers[best]


def test_nothing_watched_restores_nothing() -> None:
    network = says(nn.Sequential(nn.Flatten(), nn.Linear(1, 4)), 2)
    EarlyStopping(IMAGES, LABELS, 1).restore(network)
    assert int(network[1].bias.argmax()) == 2
