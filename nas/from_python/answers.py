"""What a file answers to images: opened once, asked as often as one likes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nas.candidates.candidate import Candidate
from nas.data.decoding import Form
from nas.data.records import Array
from nas.errors import InputError
from nas.from_python.arrays import ImagesLike
from nas.from_python.pictures import as_input
from nas.runtimes.runtime import Runner, opened_here, runtime_of
from nas.study import Study


@dataclass(frozen=True)
class ModelFile:
    """The file of a candidate at `path`, as the study's first target runs it."""

    path: Path
    candidate: Candidate
    study: Study

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return runtime_of(self.study.target).class_names(self._file)

    def logits(self, images: ImagesLike) -> Array:
        """float32 (N, classes) for images in any shape and size that a data set may have."""
        architecture = self.candidate.architecture
        form = Form(architecture.input_channels, architecture.input_size, self.study.data.resize)
        return self._runner.predict(as_input(images, form))

    def predict(self, images: ImagesLike) -> Array:
        """The classes (N,) of images: as numbers where they are called 0, 1, 2 ..., else by name."""
        answers = self.logits(images).argmax(axis=1)
        are_numbers = self.classes == tuple(map(str, range(len(self.classes))))
        found: Array = answers if are_numbers else np.array(self.classes)[answers]
        return found

    @property
    def _file(self) -> Path:
        """The file. Raises InputError where it was not kept."""
        if not self.path.exists():
            raise InputError(f"{self.path}: is gone; with artifacts.keep: front only networks on the front have files")
        return self.path

    @cached_property
    def _runner(self) -> Runner:
        target = opened_here(self.study.target)
        return runtime_of(target).open(self._file, target)
