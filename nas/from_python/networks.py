"""What comes out of a run: its front, and of every network on it the figures and the file, which predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import pandas as pd
from rich.console import Console

from nas.candidates.candidate import Candidate
from nas.commands.export import export_trial
from nas.commands.report import write_report
from nas.data.records import Array
from nas.errors import InputError
from nas.from_python.answers import ModelFile
from nas.from_python.arrays import ImagesLike
from nas.records import COSTS
from nas.report.figures import present
from nas.report.tables import front_rows, read_finalists, read_trials, records
from nas.run_folder.paths import RunFolder
from nas.runtimes.runtime import file_names
from nas.study import Study
from nas.study.file import load_recorded


@dataclass(frozen=True)
class Network:
    """A trained, compressed network in its file.

    accuracy: of the validation images, by which it was chosen; test_accuracy: of the test images, None where these were
    not read. costs: by the names of objectives (`size_bytes`, `latency_ms`, `latency_ms@NAME` ...), measured.
    row: everything that front.csv tells.
    """

    trial: int
    id: str
    accuracy: float
    test_accuracy: float | None
    costs: Mapping[str, float]
    row: Mapping[str, Any]
    run: Path
    study: Study

    @property
    def folder(self) -> Path:
        """Where its files are: the model, its weights, and the records of how it came about."""
        return self.run / str(self.row["artifact"])

    @property
    def path(self) -> Path:
        """The file that was measured, model.onnx."""
        return self.folder / file_names(self.study.targets)[self.study.target.name]

    @cached_property
    def candidate(self) -> Candidate:
        """Its architecture and how it is compressed."""
        return Candidate.from_json(json.loads((self.folder / "candidate.json").read_bytes()))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self._model.classes

    def logits(self, images: ImagesLike) -> Array:
        """What the file answers, float32 (N, classes), to images in any shape and size that a data set may have."""
        return self._model.logits(images)

    def predict(self, images: ImagesLike) -> Array:
        """The classes (N,) of images: as numbers where they are called 0, 1, 2 ..., else by name."""
        return self._model.predict(images)

    def export(self, to: str | Path) -> list[Path]:
        """Copy its files with a model card and a program that runs it, as `nas export` does; returns the files."""
        return export_trial(self.run, str(self.row["artifact"]), Path(to))

    @cached_property
    def _model(self) -> ModelFile:
        return ModelFile(self.path, self.candidate, self.study)


class Front(Sequence[Network]):
    """The networks of a run that no other one beats in everything, the best in the first objective first."""

    def __init__(self, folder: Path, study: Study, networks: Sequence[Network]) -> None:
        self.folder, self.study = folder, study
        self._networks = tuple(networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Network, ...]: ...
    def __getitem__(self, index: int | slice) -> Network | tuple[Network, ...]:
        return self._networks[index]

    @property
    def objectives(self) -> tuple[str, ...]:
        """What was traded off, in the names of the networks' costs."""
        return self.study.objectives

    def to_frame(self) -> pd.DataFrame:
        """A row per network, as in front.csv."""
        return pd.DataFrame([dict(network.row) for network in self])

    def trials(self) -> pd.DataFrame:
        """A row per trial of the search, whatever became of it, as in trials.csv."""
        return read_trials(self.folder)

    def finalists(self) -> pd.DataFrame:
        """A row per finalist, as in finalists.csv."""
        return read_finalists(self.folder)

    def report(self) -> Path:
        """Write report.html, one page that opens without a network connection; returns its path."""
        write_report(self.folder, self.study, Console(quiet=True))
        return self.folder / "report.html"

    def __repr__(self) -> str:
        shown = ["accuracy", "test_accuracy", *(name for name in self.objectives if name.partition("@")[0] in COSTS)]
        table = self.to_frame().set_index("trial")[shown].to_string() if len(self) else "no network so far"
        return f"Front of {self.folder}\n{table}"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)


def front_of(folder: Path, objectives: Sequence[str] | None = None) -> Front:
    """The front of a run folder as it stands, over its study's objectives or others.

    Raises InputError where it is no run folder.
    """
    path = folder.resolve()
    if not RunFolder(path).study.exists():
        raise InputError(f"{folder}: expected a run folder, which holds study.yaml, got none")
    study = load_recorded(RunFolder(path).study)
    rows = records(front_rows(path, objectives))
    return Front(path, study, [_network(row, path, study) for row in rows])


def _network(row: Mapping[str, Any], path: Path, study: Study) -> Network:
    costs = {name: float(value) for name, value in row.items() if name.partition("@")[0] in COSTS and present(value)}
    test = row["test_accuracy"]
    return Network(int(row["trial"]), row["id"], row["accuracy"], test, costs, row, path, study)
