"""What a checkpoint holds, and how one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import torch

from nas.training.precision import Precision

VERSION = 2  # of checkpoints


class Checkpoint(TypedDict):
    """What a checkpoint holds: tensors and plain values. `steps` are those done in the phases before `phase`."""

    version: int
    phase: int
    epoch: int
    steps: list[int]
    precision: Precision
    network: dict[str, Any]
    optimizer: dict[str, Any]
    average: dict[str, Any] | None
    stopping: dict[str, Any] | None
    teacher: dict[str, Any] | None


def load_checkpoint(path: Path) -> Checkpoint | None:
    """A checkpoint's content, or None where there is none; tensors and plain values only, never code."""
    if not path.exists():
        return None
    state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return state if state.get("version") == VERSION else None  # another version's: train anew
