"""The run folder: where each file is, and how an evaluation is written and read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from nas.candidates.hyperparameters import suffix_of
from nas.errors import InputError
from nas.files import is_locked, write_atomically
from nas.records import Evaluation, Phase
from search_spaces.existing.known import NETWORK_FILE, WEIGHTS_FILE

TEACHER = "reference"
LOCK = "lock"  # of a teacher's folder: held while the teacher is trained
LOGITS = "logits.npy"  # of a teacher on its students' training images; once this file exists, the teacher is trained


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. Names are an interface: reports, users and scripts rely on them."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "study.log"

    @property
    def lock(self) -> Path:
        return self.path / "study.lock"

    @property
    def trials(self) -> Path:
        return self.path / "trials.csv"

    @property
    def earlier(self) -> Path:
        """What was copied of earlier runs, where the search was warmed up by them."""
        return self.path / "earlier.json"

    @property
    def repeats(self) -> Path:
        return self.path / "repeats.csv"

    @property
    def finalists(self) -> Path:
        return self.path / "finalists.csv"

    @property
    def references(self) -> Path:
        return self.path / "references.csv"

    @property
    def front(self) -> Path:
        return self.path / "front.csv"

    @property
    def split(self) -> Path:
        return self.path / "split.json"

    @property
    def data(self) -> Path:
        """The images of a run that a program began with arrays."""
        return self.path / "data.npz"

    @property
    def calibration(self) -> Path:
        """What was measured before the search to predict latency; no result."""
        return self.path / "calibration.json"

    @property
    def network(self) -> Path:
        """The network that a study of an existing one is about, as it was read."""
        return self.path / NETWORK_FILE

    @property
    def network_weights(self) -> Path:
        """The weights that it begins with, if it begins with any."""
        return self.path / WEIGHTS_FILE

    @property
    def log(self) -> Path:
        """What happened, a line each."""
        return self.path / "run.log"

    @property
    def older_log(self) -> Path:
        """The log before it had grown too long."""
        return self.path / "run.log.1"

    @property
    def heartbeat(self) -> Path:
        """The last sign of life of the process that works here."""
        return self.path / "heartbeat.json"

    @property
    def tracking(self) -> Path:
        """By which name trackers know this run."""
        return self.path / "tracking.json"

    def artifact(
        self, candidate_id: str, phase: Phase, seed: int, settings: Mapping[str, Any] = MappingProxyType({})
    ) -> Path:
        """Where one evaluation's files are.

        `settings` are its searched training numbers, and what else differs from the study's `training`.
        """
        return self.path / "artifacts" / candidate_id / f"{phase}-{seed}{suffix_of(settings)}"

    def teacher(self, changes: Mapping[str, Any] = MappingProxyType({})) -> Path:
        """The network that teaches all candidates, where the study distils from one.

        Students whose training differs by `changes` from the study's have a teacher of their own.
        """
        return self.path / f"{TEACHER}{suffix_of(changes)}"

    @property
    def awaits_teacher(self) -> bool:
        """Whether a worker trains a teacher now; nobody waits for one that failed or is no longer asked for."""
        locks = self.path.glob(f"{TEACHER}*/{LOCK}")
        return any(is_locked(lock) and not lock.with_name(LOGITS).exists() for lock in locks)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def folder_named(named: str | None, run: RunFolder | None) -> Path | None:
    """The folder that `named` names, in the folder of a run or anywhere; None where it names none."""
    if named is None:
        return None
    inside = [] if run is None else [run.path / named]
    places = [*inside, Path(os.path.expanduser(os.path.expandvars(named)))]
    return next((folder for folder in places if folder.is_dir()), None)


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """The mark of a finished evaluation: once this file exists, the evaluation is done."""
    write_atomically(folder / "evaluation.json", evaluation.model_dump_json(indent=1))


def read_evaluation(folder: Path) -> Evaluation | None:
    """A finished evaluation, or None where there is none yet. Raises InputError where its record is damaged."""
    try:
        return Evaluation.model_validate_json((folder / "evaluation.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):  # the latter where a system left a file beside the folders
        return None
    except ValidationError:
        raise InputError(f"{folder / 'evaluation.json'}: expected the record of an evaluation, got none") from None
