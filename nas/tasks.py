"""Task: one evaluation to be done, as the driver hands it to a worker. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nas.candidates.candidate import Candidate
from nas.records import Phase

CHECKPOINT_FILE = "checkpoint.pt"


@dataclass(frozen=True)
class Rung:
    """How far a training has come: epochs done so far, of so many that it is to have."""

    epochs: float
    budget: int


class Verdict(StrEnum):
    """What the driver answers to a rung: train on, save and wait, or save and end."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True)
class Task:
    """What to evaluate, how long, with which seed, and where its files go; `training` are its searched numbers.

    `reads_test`: whether the test split is scored too. `is_constrained`: whether the study's constraints bind it.
    """

    number: int
    candidate: Candidate
    phase: Phase
    seed: int
    epochs: int
    folder: Path
    attempt: int = 1
    training: dict[str, float] = field(default_factory=dict)
    reads_test: bool = False
    is_constrained: bool = True

    def to_line(self) -> str:
        """One line of JSON, for a pipe."""
        fields = {**vars(self), "candidate": self.candidate.to_json(), "folder": str(self.folder)}
        return json.dumps(fields)

    @classmethod
    def from_line(cls, line: str) -> Task:
        fields = json.loads(line)
        candidate, folder = Candidate.from_json(fields.pop("candidate")), Path(fields.pop("folder"))
        return cls(candidate=candidate, folder=folder, **fields)
