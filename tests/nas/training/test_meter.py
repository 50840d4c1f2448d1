"""What a training says of itself, about once a second."""

from __future__ import annotations

import time

import pytest
import torch

from nas.tasks import Progress
from nas.training.meter import Meter


def test_it_tells_once_a_second_and_counts_all_that_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[Progress]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter(told.append, "pruned", budget=20, before=30, steps_per_epoch=10, batch_size=64)
    for step in range(1, 9):
        now[0] += 0.25
        meter(step, torch.tensor(float(step)))
    assert told == [
        Progress("train", "pruned", 3.4, 20, 4.0, 4 * 64.0),
        Progress("train", "pruned", 3.8, 20, 8.0, 4 * 64.0),
    ]
    now[0] += 4  # what a step waits for is part of the rate
    meter(9, torch.tensor(0.5))
    assert told[2:] == [Progress("train", "pruned", 3.9, 20, 0.5, 16.0)]


def test_a_stage_that_goes_on_counts_its_own_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[Progress]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter(told.append, "dense", budget=20, before=0, steps_per_epoch=10, batch_size=64)
    now[0] = 2.0
    meter(101, torch.tensor(1.0))  # from a checkpoint behind 100 steps
    assert told == [Progress("train", "dense", 10.1, 20, 1.0, 32.0)]
