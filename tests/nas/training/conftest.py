"""Tests of training use one thread, as a worker does for tiny images: barriers cost more than they save."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import nas.training.stage_run


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def checkpoint_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the epochs are."""
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
