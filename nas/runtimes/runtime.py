"""What an inference engine has to do to be a target: make a file, open it, run and time it, say which kernels ran.

A runtime is a row of `nas.registry.RUNTIMES`. Its module is imported when the row is used, and imports the engine only
when that has work to do: a run folder can be read where the engine is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas.errors import CandidateFailed, InputError
from nas.records import Fingerprint
from nas.registry import RUNTIMES

if TYPE_CHECKING:
    from torch import nn

    from nas.candidates.candidate import Candidate
    from nas.data.decoding import Form
    from nas.study import Target  # which asks a runtime for its default provider

Array = np.ndarray[Any, Any]
CONTROL_SHAPE = (1, 16, 16, 16)  # the input of every runtime's control network


class RuntimeRefused(CandidateFailed):
    """A runtime cannot load a file, or cannot run it; the message is in the runtime's own words."""


@dataclass(frozen=True)
class FileHeader:
    """What a file says about itself: the input's shape and the names of the classes."""

    channels: int
    input_size: int
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class FileCosts:
    """What a file holds and needs, by its own graph."""

    parameters: int
    macs: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class FileZeros:
    """Parameters of a file that are not zero, and the share of zeros among the weights of each layer by name."""

    nonzero_parameters: int
    layers: Mapping[str, float]


@dataclass(frozen=True)
class FileForecast:
    """What is known of a file before it is made; `size_sd` is the standard deviation of the size's error, in bytes.

    `peak` computes the peak memory, which few want to know.
    """

    size_bytes: float
    size_sd: float
    peak: Callable[[], int]

    @cached_property
    def peak_memory_bytes(self) -> int:
        return self.peak()


@dataclass(frozen=True)
class Usage:
    """How a file is used elsewhere.

    needs: the engine and its version, in words. program: Python that is saved as `predict.py` beside the file and
    prints the classes of one image; besides the engine it needs numpy and pillow only.
    """

    needs: str
    program: str


class Runner(Protocol):
    """A loaded file, opened with a target's provider and threads."""

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1], at most `batch` images at a time."""
        ...

    def time_us(self, image: Array, runs: int) -> list[float]:
        """Wall time of each of `runs` single calls with `image` (B, C, H, W), in microseconds."""
        ...

    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        ...


class Runtime(Protocol):
    """One inference engine.

    `package` is what has to be installed, and `extra` the extra of this project that brings it ("": always installed).
    `default_provider` is the backend of a target that names none. `refused`: formats of weights that it does not
    compute with in integers, and why. `emit`, `refuse_unsafe`, `costs`, `coded`, `class_names` and `usage` work without
    the engine.
    """

    name: str
    package: str
    extra: str
    file_name: str
    default_provider: str
    refused: Mapping[str, str]

    def emit(self, network: nn.Module, header: FileHeader) -> bytes:
        """The file of a folded, possibly quantized network; equal networks give equal bytes."""
        ...

    def open(self, file: Path | bytes, target: Target) -> Runner:
        """Load a file. Raises RuntimeRefused."""
        ...

    def refuse_unsafe(self, content: bytes) -> None:
        """Raise RuntimeRefused unless a file from elsewhere is whole, this runtime's, and reaches nothing outside."""
        ...

    def costs(self, file: Path) -> FileCosts:
        """What is counted from the file's graph."""
        ...

    def coded(self, file: Path) -> bytes:
        """The file entropy-coded; `compressors.coding.container.decoded` gives it back byte for byte."""
        ...

    def zeros(self, file: Path) -> FileZeros:
        """What of the file's parameters is zero, by the values that its layers compute with."""
        ...

    def forecast(self, candidate: Candidate, header: FileHeader) -> FileForecast | None:
        """The file of a candidate that is not built, cheap enough for thousands; None where it cannot be told."""
        ...

    def class_names(self, file: Path) -> tuple[str, ...]:
        """The class names of the file's header; none where the file cannot tell."""
        ...

    def usage(self, file: Path, form: Form) -> Usage:
        """How the file is used elsewhere, on images that are brought to `form`."""
        ...

    def integer_layers(self, file: Path, target: Target) -> frozenset[str]:
        """Names of the layers that this runtime runs as integer kernels. Raises RuntimeRefused."""
        ...

    def fingerprint(self, target: Target) -> Fingerprint:
        """What latencies measured here depend on besides the file."""
        ...

    def control(self) -> bytes:
        """The file of the control network, whose input is CONTROL_SHAPE."""
        ...

    def providers(self) -> tuple[str, ...]:
        """The providers that the installed package has. Raises ImportError where there is no package."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Version by package."""
        ...


def runtime_of(target: Target) -> Runtime:
    """The runtime that a target names."""
    runtime: Runtime = RUNTIMES[target.runtime]
    return runtime


def opened_here(target: Target) -> Target:
    """A target as this machine opens its file, to see what it computes: where another machine measures it, that may
    have providers that this one lacks.
    """
    if not target.is_elsewhere:
        return target
    return target.model_copy(update={"provider": runtime_of(target).default_provider})


def opens_here(target: Target) -> bool:
    """Whether a target's files can be opened on this machine: where another one measures it, the package may lack."""
    return not target.is_elsewhere or find_spec(runtime_of(target).package) is not None


def fingerprint(target: Target) -> Fingerprint:
    """What latencies on this machine depend on."""
    return runtime_of(target).fingerprint(target)


def file_names(targets: Sequence[Target]) -> dict[str, str]:
    """Name of every target's file. The first target's is its runtime's; another runtime's is `model@TARGET.onnx`,
    which further targets of that runtime share."""
    first = targets[0]
    by_runtime = {first.runtime: runtime_of(first).file_name}
    for target in targets[1:]:
        path = PurePath(runtime_of(target).file_name)
        by_runtime.setdefault(target.runtime, f"{path.stem}@{target.name}{path.suffix}")
    return {target.name: by_runtime[target.runtime] for target in targets}


def refuse_missing(targets: Sequence[Target]) -> None:
    """Raise InputError where there is anything `missing`."""
    if problems := missing(targets):
        raise InputError("\n".join(problems))


def missing(targets: Sequence[Target], *, at_a_glance: bool = False) -> list[str]:
    """A line for each target whose runtime is not installed here or lacks the provider; begins with the study's key.

    Of targets that another machine measures only the first is needed here, with any provider: its files are scored.
    `at_a_glance`: a package that is installed is taken to have its default provider, without the time to import it.
    """
    asked = [(i, opened_here(t)) for i, t in enumerate(targets) if i == 0 or not t.is_elsewhere]
    problems = [_missing(f"targets[{i}]", t) for i, t in asked if not (at_a_glance and _seems_usable(t))]
    return [problem for problem in problems if problem]


def _seems_usable(target: Target) -> bool:
    runtime = runtime_of(target)
    return target.provider == runtime.default_provider and find_spec(runtime.package) is not None


def _missing(key: str, target: Target) -> str:
    """What keeps a target from being used on this machine; empty where nothing does."""
    runtime = runtime_of(target)
    try:
        known = runtime.providers()
    except ImportError:
        needed = f"pip install 'compact-nas[{runtime.extra}]'" if runtime.extra else f"pip install {runtime.package}"
        return (
            f"{key}.runtime: target {target.name!r} needs the package {runtime.package}, which is not installed here: "
            f"{needed}"
        )
    if target.provider not in known:
        return (
            f"{key}.provider: expected one of {', '.join(known)}, which the installed {runtime.package} has, "
            f"got {target.provider!r}"
        )
    return ""
