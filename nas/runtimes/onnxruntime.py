"""ONNX Runtime on the CPU: open a file, run it, see which kernels ran, time it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from nas.files import readable
from nas.records import Fingerprint
from nas.runtimes.cpu import INSTRUCTION_SETS, processor, sums_may_overflow
from nas.runtimes.onnx.nodes import WEIGHT_SCALE
from nas.study import Target

Array = np.ndarray[Any, Any]
INTEGER_KERNELS = ("QLinearConv", "QGemm")
EXACT_SUMS = ("session.x64quantprecision", "1")


class Runner:
    """A loaded file. Opened with the target's threads, no spinning, so that idle runners do not disturb others."""

    def __init__(self, file: Path | bytes, target: Target, *, optimized: Path | None = None) -> None:
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
        self._session = onnxruntime.InferenceSession(source, options, providers=[target.provider])
        self._input = self._session.get_inputs()[0].name

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1]."""
        parts = [self._session.run(None, {self._input: part})[0] for part in _batches(images, batch)]
        return np.concatenate(parts)

    def time_us(self, image: Array, runs: int) -> list[float]:
        """Wall time of each of `runs` single calls, in microseconds."""
        run, feed = self._session.run, {self._input: image}
        samples = []
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


def integer_layers(file: Path, target: Target) -> frozenset[str]:
    """Layers that the runtime's optimized graph runs as integer kernels, known by their weight scales' names."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        Runner(file, target, optimized=optimized)
        nodes = onnx.load(optimized, load_external_data=False).graph.node
    inputs = (name for node in nodes if node.op_type in INTEGER_KERNELS for name in node.input)
    return frozenset(name.removesuffix(WEIGHT_SCALE) for name in inputs if name.endswith(WEIGHT_SCALE))


@cache
def fingerprint(target: Target) -> Fingerprint:
    """What latencies on this machine depend on."""
    model, flags = processor()
    return Fingerprint(
        device=model,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        provider=target.provider,
        threads=target.threads,
        batch=target.batch,
    )
