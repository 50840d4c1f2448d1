"""One network compressed by a plan: a call's arguments as wishes, and what comes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from nas.candidates.candidate import Candidate
from nas.commands.compress import compress as compress_into
from nas.commands.compress_view import print_comparison
from nas.compression.comparison import Comparison, Figures, layer_json, lines, ratio
from nas.compression.doubts import doubts_of
from nas.compression.folder import request_of
from nas.compression.page import page
from nas.compression.settings import study_of
from nas.compression.wishes import Wishes, read_format, read_limits, read_rank, read_ratio
from nas.data.records import Array
from nas.errors import CandidateFailed, InputError
from nas.executors.loop import WorkFailed
from nas.executors.stopping import Interrupted
from nas.files import write_atomically
from nas.first_study.document import flow
from nas.from_python.answers import ModelFile
from nas.from_python.arrays import ImagesLike
from nas.from_python.quiet import console_of
from nas.from_python.running import Stopped
from nas.from_python.settings import Sections, limits, plain, short_digest
from nas.runtimes.runtime import runtime_of
from nas.study import Study
from nas.study.compression import Importance

Choice = float | str | None
Choices = Choice | Sequence[Choice] | Mapping[str, Choice]
OF_NO_FILE = "study"  # stands in messages where a file would
OPTIONS = {"--format": "weight_format", "--max": "limits", "--to": "folder"}  # named otherwise on the command line


@dataclass(frozen=True)
class Compressed:
    """A network before and after its compression, and the file that ships.

    comparison: everything that was measured of both. folder: where the file and all records are.
    """

    comparison: Comparison
    folder: Path
    study: Study

    @property
    def before(self) -> Figures:
        """Figures by name: accuracy, test_accuracy, size_bytes, latency_ms, macs ...; None what was not measured."""
        return self.comparison.figures[0]

    @property
    def after(self) -> Figures:
        """As `before`, of the compressed network, read off its file."""
        return self.comparison.figures[1]

    @property
    def path(self) -> Path:
        """The file that was measured, model.onnx; predict.py beside it runs it on a picture."""
        return self.folder / runtime_of(self.study.target).file_name

    @cached_property
    def candidate(self) -> Candidate:
        """Its architecture, and the plan by which it was compressed."""
        return Candidate.from_json(json.loads((self.folder / "candidate.json").read_bytes()))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self._model.classes

    @property
    def doubts(self) -> tuple[str, ...]:
        """Sentences on what is doubtful about the figures."""
        return tuple(doubts_of(self.comparison))

    def logits(self, images: ImagesLike) -> Array:
        """What the file answers, float32 (N, classes), to images in any shape and size that a data set may have."""
        return self._model.logits(images)

    def predict(self, images: ImagesLike) -> Array:
        """The classes (N,) of images: as numbers where they are called 0, 1, 2 ..., else by name."""
        return self._model.predict(images)

    def to_frame(self) -> pd.DataFrame:
        """A row per figure: before, after, and after / before."""
        rows = {name: (old, self.after[name], ratio(old, self.after[name])) for name, old in self.before.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["before", "after", "ratio"], dtype="float64")

    def layers(self) -> pd.DataFrame:
        """A row per layer: its channels, parameters and MACs before and after, format, ranks and share of zeros."""
        return pd.DataFrame([layer_json(change) for change in self.comparison.layers])

    def report(self) -> Path:
        """Write the comparison as one page that opens without a network connection; returns its path."""
        file = self.folder / "table.html"
        write_atomically(file, page(self.comparison, data=self.study.data.title))
        return file

    def __repr__(self) -> str:
        return f"Compressed {self.comparison.base} in {self.folder}\n{self._shown.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return self._shown.to_html(index=False)

    @property
    def _shown(self) -> pd.DataFrame:
        """What `nas compress` prints."""
        return pd.DataFrame([asdict(line) for line in lines(self.comparison)]).rename(columns={"label": "figure"})

    @cached_property
    def _model(self) -> ModelFile:
        return ModelFile(self.path, self.candidate, self.study)


def wishes_for(
    space: Mapping[str, Any],
    data: Mapping[str, Any],
    sections: Sections,
    *,
    ratio: Choices = None,
    weight_format: Choices = None,
    rank: Choices = None,
    importance: Importance | None = None,
    limits: Mapping[str, float] | None = None,
    epochs: int | None = None,
    trials: int | None = None,
    seed: int = 0,
) -> Wishes:
    """The wishes of a call. Raises InputError, which begins with the argument, for what cannot be meant."""
    try:
        return Wishes(
            space=plain(space),
            data=plain(data),
            ratio=read_ratio(texts(ratio)),
            format=read_format(texts(weight_format)),
            rank=read_rank(texts(rank)),
            importance=importance,
            epochs=epochs,
            limits=read_limits(texts(limits)),
            trials=trials,
            overrides=[f"search.seed={seed}", *overrides(sections)],
        )
    except InputError as error:
        raise InputError(_in_words_of_a_call(str(error))) from None


def texts(value: Choices | Mapping[str, float]) -> list[str]:
    """A value as an option of the command line has it: one, several choices, or one for single layers by name."""
    match value:
        case None:
            return []
        case Mapping():
            return [f"{name}={_text(own)}" for name, own in value.items()]
        case list() | tuple():
            return [",".join(map(_text, value))]
        case _:
            return [_text(value)]


def _text(value: object) -> str:
    own = plain(value)
    return "none" if own is None else str(own)


def overrides(sections: Sections) -> Iterator[str]:
    """Sections of a study as KEY=VALUE."""
    for section, keys in sections.items():
        given = plain(limits(keys) if section == "constraints" else keys)
        if isinstance(given, dict):
            yield from (f"{section}.{key}={flow(value)}" for key, value in given.items())
        else:
            yield f"{section}={flow(given)}"


def compression_study(wishes: Wishes) -> Study:
    """The study that wishes come to. Raises InputError, a line per mistake that begins with its key."""
    try:
        return study_of(wishes, Path(OF_NO_FILE))
    except InputError as error:
        raise InputError(_in_words_of_a_call(str(error))) from None


def compression_folder(wishes: Wishes, digest: str, runs: Path) -> Path:
    """Where a result goes that was given no folder: one for all that it depends on.

    `digest` stands for arrays, wherever they are written.
    """
    study = compression_study(wishes)
    asked = request_of(study, wishes)
    if digest:
        asked["study"]["data"]["path"] = digest
    return runs / f"{study.name}-{short_digest(asked)}"


def compress_quietly(wishes: Wishes, folder: Path, *, progress: bool) -> Comparison:
    """Compress into a folder, or go on with it.

    Raises InputError before any work where something cannot be done, WorkFailed where a training fails, and Stopped at
    Ctrl-C.
    """
    console = console_of(progress=progress)
    try:
        found = compress_into(wishes, folder, console)
    except InputError as error:
        raise InputError(_in_words_of_a_call(str(error))) from None
    except CandidateFailed as error:
        raise WorkFailed(f"the training failed: {error}") from None
    except (KeyboardInterrupt, Interrupted):
        raise Stopped(folder) from None
    if found is None:
        raise Stopped(folder)
    if progress:
        print_comparison(console, found)
    return found


def _in_words_of_a_call(message: str) -> str:
    """Options of the command line by the names of the arguments, and keys without the place of a file."""
    message = re.sub(rf"^(?:{OF_NO_FILE}:\d+|command line): ", "", message, flags=re.MULTILINE)
    return re.sub(r"--[a-z]+\b", lambda found: OPTIONS.get(found[0], found[0].removeprefix("--")), message)
