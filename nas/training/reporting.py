"""What a training says between two epochs, what it is answered, and what is seen of it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from nas.tasks import Rung, Verdict
from nas.training.carried import Carried

if TYPE_CHECKING:
    from nas.training.pipeline import TrainingPipeline

Report = Callable[[Rung], Verdict]


def always_continue(_: Rung) -> Verdict:
    return Verdict.CONTINUE


class Interrupted(Exception):
    """The training was told to pause or stop, after how much of it; its checkpoint is saved."""

    def __init__(self, verdict: Verdict, rung: Rung) -> None:
        super().__init__(f"the training was told to {verdict}")
        self.verdict, self.rung = verdict, rung


@dataclass(frozen=True)
class Snapshot:
    """A training between two epochs: the stage, by its number, and how much of the schedule is over.

    `carried` is a copy of what goes on to the next stage. `copied` makes a copy of the network with the weights that
    would go on if the stage ended here.
    """

    pipeline: TrainingPipeline
    stage: int
    done: float
    carried: Carried
    copied: Callable[[], nn.Module]


@dataclass(frozen=True)
class Look:
    """What was seen at a rung: figures by name, and the epochs that a copy was trained for it."""

    scores: Mapping[str, float]
    copy_epochs: float


def unseen(share: float, *_: object) -> Look:
    raise ValueError(f"rung {share:g}: expected a function that looks at it, got none")
