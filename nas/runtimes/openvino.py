"""OpenVINO: reads the same ONNX files, except that weights it cannot unpack are stored as int8 codes.

A file is opened for one batch size; what is run and what is timed is the same compiled network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressors.formats import FORMATS
from nas.files import readable
from nas.records import Fingerprint
from nas.runtimes.cpu import fingerprint_of
from nas.runtimes.onnx.shared import ReadsOnnx
from nas.runtimes.onnx.storage import Storage
from nas.runtimes.runtime import Array, FileHeader, RuntimeRefused

if TYPE_CHECKING:
    from torch import nn

    from nas.study import Target  # which asks a runtime for its default provider

# It knows neither INT2 nor a file's own functions, which restore 1, 3, 5 and 6 bits and masked weights: those weights
# are stored as int8 codes, and dense.
STORAGE = Storage(frozenset(name for name, row in FORMATS.items() if row.bits in (1, 2, 3, 5, 6)), is_dense=True)
REFUSED = {"int8_asymmetric": "it computes convolutions whose weights have zero points in floats"}
LAYER_KINDS = ("convolution", "deconvolution", "fullyconnected", "matmul")
CODES = ("u8", "i8")


class Runner:
    """A loaded file, compiled for the target's batch: with a dynamic batch a call takes about half as long again.

    Arithmetic outside integer kernels is float32, and threads are not bound to cores, which other workers use too.
    """

    def __init__(self, file: Path | bytes, target: Target) -> None:
        with _own_words():
            model = _core().read_model(file if isinstance(file, bytes) else readable(file))
            (image,) = model.inputs
            _, *shape = image.get_partial_shape()
            self._shape = tuple(int(length.get_length()) for length in shape)
            self._batch = target.batch
            model.reshape([target.batch, *self._shape])
            self.compiled = _core().compile_model(model, target.provider, _options(target))

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1], by the very network that is timed.

        That one takes the target's batch, whatever `batch` is; the last images are filled up with black ones.
        """
        missing = -len(images) % self._batch
        whole = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing else images
        with _own_words():
            parts = [self.compiled(whole[n : n + self._batch])[0] for n in range(0, len(whole), self._batch)]
        return np.concatenate(parts)[: len(images)]

    def time_us(self, image: Array, runs: int) -> list[float]:
        """Wall time of each of `runs` single calls, in microseconds."""
        run = self.compiled
        samples = []
        with _own_words():
            for _ in range(runs):
                start = time.perf_counter_ns()
                run(image)
                samples.append((time.perf_counter_ns() - start) / 1e3)
        return samples

    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of `image`."""
        channels, height, width = self._shape
        return channels, height, width

    def integer_operations(self) -> Iterator[str]:
        """Names of the file's operations in those layers of the compiled network that read codes."""
        for operation in self.compiled.get_runtime_model().get_ordered_ops():
            facts = {key: _text(value) for key, value in operation.get_rt_info().items()}
            is_layer = facts.get("layerType", "").lower() in LAYER_KINDS
            if is_layer and facts.get("runtimePrecision", "").lower() in CODES:
                yield from facts.get("originalLayersNames", "").split(",")


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _options(target: Target) -> dict[str, Any]:
    """Of the CPU: other devices know neither threads nor where they run."""
    common = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if target.provider != "CPU":
        return common
    return {**common, "INFERENCE_NUM_THREADS": target.threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}


@contextmanager
def _own_words() -> Iterator[None]:
    """Raise RuntimeRefused with what OpenVINO says, without the places in its sources."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        raise RuntimeRefused(reason(str(error))) from error


def reason(text: str) -> str:
    """The line of OpenVINO's message that says why: its list of unknown operations, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    unknown = (line for line in lines if line.startswith("-- No conversion rule"))
    return next(unknown, lines[-1]).removeprefix("-- ")


@cache
def fingerprint(target: Target) -> Fingerprint:
    """What latencies on this machine depend on."""
    accelerator = "" if target.provider == "CPU" else str(_core().get_property(target.provider, "FULL_DEVICE_NAME"))
    return fingerprint_of(target, f"openvino {_version()}", accelerator)


def _version() -> str:
    """The release, without the build behind it."""
    import openvino

    return str(openvino.__version__).partition("-")[0]


class OpenVino(ReadsOnnx):
    """The row of OpenVINO; its providers are its devices (CPU, GPU, ...)."""

    name = "openvino"
    package = "openvino"
    extra = "openvino"
    default_provider = "CPU"
    storage = STORAGE
    refused = REFUSED

    def emit(self, network: nn.Module, header: FileHeader) -> bytes:
        from nas.runtimes.onnx.files import model_bytes

        return model_bytes(network, header, STORAGE)

    def open(self, file: Path | bytes, target: Target) -> Runner:
        return Runner(file, target)

    def integer_layers(self, file: Path, target: Target) -> frozenset[str]:
        """Layers whose convolution or product reads codes.

        OpenVINO names operations after the file's nodes, those that it splits after the node's output.
        """
        from nas.runtimes.onnx.layer_names import layer_outputs

        ran = set(Runner(file, target).integer_operations())
        return frozenset(name for name, output in layer_outputs(file) if {name, f"{name}/WithoutBiases", output} & ran)

    def fingerprint(self, target: Target) -> Fingerprint:
        return fingerprint(target)

    def providers(self) -> tuple[str, ...]:
        """Devices; `GPU` stands for the first of several."""
        import openvino

        devices = [str(device) for device in openvino.Core().available_devices]
        return tuple(dict.fromkeys(name for device in devices for name in (device, device.partition(".")[0])))

    def versions(self) -> Mapping[str, str]:
        return {self.name: _version()}


OPENVINO = OpenVino()
