"""What a checkpoint holds, and how one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor

from nas.training.precision import Precision

VERSION = 3  # of checkpoints


class Checkpoint(TypedDict):
    """What a checkpoint holds: tensors and plain values.

    `stage` is the number of the stage, from 0, and `epoch` that of its finished epochs; `steps` are those done in each
    stage before it. `plan` is the candidate's with what its requests came down to so far, as JSON; None: the
    candidate's own. `master` averages the weights of a network that will teach itself, `projections` are trained beside
    the network, where hidden values teach it. `early` is the state early in the dense stage that pruning goes back to.
    `within` are the steps done of the epoch after `epoch`, with `generator`, the state that dropout draws from.
    """

    version: int
    stage: int
    epoch: int
    steps: list[int]
    precision: Precision
    network: dict[str, Any]
    optimizer: dict[str, Any]
    average: dict[str, Any] | None
    stopping: dict[str, Any] | None
    teacher: dict[str, Any] | None
    master: NotRequired[dict[str, Any] | None]
    projections: NotRequired[list[Tensor]]
    plan: dict[str, Any] | None
    early: dict[str, Any] | None
    within: NotRequired[int]
    generator: NotRequired[Tensor]


def load_checkpoint(path: Path) -> Checkpoint | None:
    """A checkpoint's content, or None where there is none; tensors and plain values only, never code.

    Version 2 differs in a name alone and is continued; with an earlier one the candidate is trained again.
    """
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("version") == 2:
        state = {**state, "version": VERSION, "stage": state["phase"]}
        del state["phase"]
    state = {"plan": None, "early": None, **state}  # which earlier ones of the version lack
    return Checkpoint(**state) if state.get("version") == VERSION else None  # type: ignore[typeddict-item]
