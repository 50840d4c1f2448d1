"""ONNX Runtime: open a file, run it, see which kernels ran, time it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.files import readable
from nas.records import Fingerprint
from nas.runtimes.cpu import board, fingerprint_of, sums_may_overflow
from nas.runtimes.onnx.shared import ReadsOnnx
from nas.runtimes.runtime import Array, FileHeader, RuntimeRefused

if TYPE_CHECKING:
    from torch import nn

    from nas.study import Target  # which asks a runtime for its default provider

INTEGER_KERNELS = ("QLinearConv", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
CUDA_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
EXACT_SUMS = ("session.x64quantprecision", "1")


class Runner:
    """A loaded file. Opened with the target's threads, no spinning, so that idle runners do not disturb others."""

    def __init__(self, file: Path | bytes, target: Target, *, optimized: Path | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if sums_may_overflow():
            options.add_session_config_entry(*EXACT_SUMS)
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        source = file if isinstance(file, bytes) else readable(file)
        _refuse_another(target.provider, onnxruntime.get_available_providers())
        with _own_words():
            self._session = onnxruntime.InferenceSession(source, options, providers=[target.provider])
        _refuse_another(target.provider, self._session.get_providers())
        self._input = self._session.get_inputs()[0].name

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1]."""
        with _own_words():
            parts = [self._session.run(None, {self._input: part})[0] for part in _batches(images, batch)]
        return np.concatenate(parts)

    def time_us(self, image: Array, runs: int) -> list[float]:
        """Wall time of each of `runs` single calls, in microseconds."""
        run, feed = self._session.run, {self._input: image}
        samples = []
        with _own_words():
            for _ in range(runs):
                start = time.perf_counter_ns()
                run(None, feed)
                samples.append((time.perf_counter_ns() - start) / 1e3)
        return samples

    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of `image`."""
        _, channels, height, width = self._session.get_inputs()[0].shape
        return channels, height, width


def _batches(images: Array, size: int) -> Iterator[Array]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


@contextmanager
def _own_words() -> Iterator[None]:
    """Raise RuntimeRefused with the first line of what ONNX Runtime says."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    kinds = (
        errors.EPFail, errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf,
        errors.NoSuchFile, errors.NotImplemented, errors.RuntimeException,
    )  # fmt: skip
    try:
        yield
    except kinds as error:
        raise RuntimeRefused(str(error).splitlines()[0]) from error


def _refuse_another(provider: str, found: list[str]) -> None:
    """ONNX Runtime continues with its CPU provider where it lacks the one asked for or cannot load it."""
    if provider not in found:
        raise RuntimeRefused(f"{provider} cannot be used here, only {', '.join(found)}")


def integer_layers(file: Path, target: Target) -> frozenset[str]:
    """Layers that the runtime's optimized graph runs as integer kernels, known by their weight scales' names."""
    import onnx

    from nas.runtimes.onnx.layer_names import WEIGHT_SCALE

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        Runner(file, target, optimized=optimized)
        nodes = onnx.load(optimized, load_external_data=False).graph.node
    inputs = (name for node in nodes if node.op_type in INTEGER_KERNELS for name in node.input)
    return frozenset(name.removesuffix(WEIGHT_SCALE) for name in inputs if name.endswith(WEIGHT_SCALE))


@cache
def fingerprint(target: Target) -> Fingerprint:
    """What latencies on this machine depend on."""
    import onnxruntime

    accelerator = _cuda_device() if target.provider in CUDA_PROVIDERS else ""
    return fingerprint_of(target, f"onnxruntime {onnxruntime.__version__}", accelerator)


def _cuda_device() -> str:
    try:
        import torch
    except ImportError:  # a board, which calls itself by what it computes with
        return board() or "CUDA"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CUDA"


class OnnxRuntime(ReadsOnnx):
    """The row of ONNX Runtime; its providers go by its own names (CPUExecutionProvider, CUDAExecutionProvider, ...)."""

    name = "onnxruntime"
    package = "onnxruntime"
    extra = ""
    default_provider = "CPUExecutionProvider"

    def emit(self, network: nn.Module, header: FileHeader) -> bytes:
        from nas.runtimes.onnx.files import model_bytes

        return model_bytes(network, header)

    def open(self, file: Path | bytes, target: Target) -> Runner:
        return Runner(file, target)

    def integer_layers(self, file: Path, target: Target) -> frozenset[str]:
        return integer_layers(file, target)

    def fingerprint(self, target: Target) -> Fingerprint:
        return fingerprint(target)

    def providers(self) -> tuple[str, ...]:
        import onnxruntime

        return tuple(onnxruntime.get_available_providers())

    def versions(self) -> Mapping[str, str]:
        import onnxruntime

        return {self.name: onnxruntime.__version__}


ONNXRUNTIME = OnnxRuntime()
