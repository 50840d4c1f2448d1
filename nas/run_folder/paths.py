"""The run folder: where each file is, and how an evaluation is written and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from nas.candidates.hyperparameters import Numbers, suffix_of
from nas.errors import InputError
from nas.files import write_atomically
from nas.records import Evaluation, Phase


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
    def calibration(self) -> Path:
        """What was measured before the search to predict latency; no result."""
        return self.path / "calibration.json"

    def artifact(self, candidate_id: str, phase: Phase, seed: int, numbers: Numbers = MappingProxyType({})) -> Path:
        """Where one evaluation's files are; `numbers` are its searched training numbers."""
        return self.path / "artifacts" / candidate_id / f"{phase}-{seed}{suffix_of(numbers)}"

    @property
    def teacher(self) -> Path:
        """The network that teaches all candidates, where the study distils from one."""
        return self.path / "reference"

    @property
    def teacher_logits(self) -> Path:
        """Its logits on the training images; once this file exists, the teacher is trained."""
        return self.teacher / "logits.npy"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


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
