"""Task: one evaluation to be done, as a driver hands it to a worker; Rung, Verdict, Progress: what they say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from nas.candidates.candidate import Candidate
from nas.records import Phase
from nas.study import Recipe, Study
from nas.study.search import rung_epochs

CHECKPOINT_FILE = "checkpoint.pt"
OWN_RECIPE: tuple[Phase, ...] = ("final", "reference")  # phases that the section `finals` is for


class Verdict(StrEnum):
    """What the driver says of a training that goes on: train on, keep a checkpoint for later, or end it here."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True)
class Rung:
    """How far a task's training is: `epochs` done of the `budget` of its schedule (Task.epochs).

    Where one of the task's rungs is reached, `share` says which, `scores` what a copy of the network is worth there, by
    the names of qualities and costs, and `copy_epochs` for how long that copy was trained.
    """

    epochs: float
    budget: int
    share: float | None = None
    scores: Mapping[str, float] | None = None
    copy_epochs: float = 0.0


@dataclass(frozen=True)
class Progress:
    """What an evaluation is at: its `part`, by the names of `Evaluation.seconds`, and how far its training is.

    `epochs` are done of the `budget` of its schedule, parts of one included, in `stage`; `loss` is that of a batch;
    `images_per_second` counts all that a step waits for.
    """

    part: str
    stage: str = ""
    epochs: float = 0.0
    budget: int = 0
    loss: float | None = None
    images_per_second: float = 0.0


Tell = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Progress that nobody listens to."""


def rung_between(rungs: Sequence[float], budget: int, before: float, epochs: float) -> float | None:
    """The rung that is reached when `epochs` are done and was not with those done `before`."""
    return next((share for share in rungs if before < rung_epochs(share, budget) <= epochs), None)


@dataclass(frozen=True)
class Task:
    """What to evaluate, how long, with which seed, and where its files go; `training` are its searched numbers.

    `recipe` is what else differs from the study's `training`, in keys of `finals`. `train_size` is the side in pixels
    of the images that it is first trained on, where that is smaller than the candidate's own.
    `reads_test` says whether the test split may be read, `is_constrained` whether the study's constraints apply.
    `rungs` are the shares of its training at which a copy is scored. `made_from` is the folder of a finished network
    that is quantized after its training instead of training this one.
    """

    number: int
    candidate: Candidate
    phase: Phase
    seed: int
    epochs: int
    folder: Path
    attempt: int = 1
    training: dict[str, float | str] = field(default_factory=dict)
    reads_test: bool = False
    is_constrained: bool = True
    rungs: tuple[float, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    train_size: int | None = None
    made_from: Path | None = None

    def recipe_in(self, study: Study) -> Recipe:
        """How it is trained, all numbers decided."""
        return study.training_by(self.recipe).resolved(self.training)

    def images_in(self, study: Study) -> int | None:
        """How many training images it has; None for all."""
        return study.images_by(self.recipe)

    def budget_in(self, study: Study) -> int:
        """The epochs of full fidelity: the study's, and for what is trained by a recipe of its own that recipe's."""
        return self.epochs if self.phase in OWN_RECIPE else study.training.epochs

    def at_rung(self, share: float) -> Task:
        """What is recorded at a rung: an evaluation of its own, in a folder beside this one's."""
        return replace(self, phase="rung", folder=self.folder.with_name(f"{self.folder.name}-r{share:g}"))

    def to_line(self) -> str:
        """One line of JSON, for a pipe."""
        source = None if self.made_from is None else str(self.made_from)
        written = {"candidate": self.candidate.to_json(), "folder": str(self.folder), "made_from": source}
        return json.dumps({**vars(self), **written})

    @classmethod
    def from_line(cls, line: str) -> Task:
        """The task that `to_line` wrote."""
        fields = json.loads(line)
        source = fields["made_from"]
        read = {
            "candidate": Candidate.from_json(fields["candidate"]),
            "folder": Path(fields["folder"]),
            "rungs": tuple(fields["rungs"]),
            "made_from": None if source is None else Path(source),
        }
        return cls(**{**fields, **read})
