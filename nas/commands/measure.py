"""`nas measure`: any ONNX file's costs and its latency by the project's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper
from rich.table import Table

from nas.commands.measuring_there import measure_there
from nas.errors import InputError
from nas.measuring.latency import measure
from nas.records import Latency
from nas.runtimes.onnx.costs import Counts, count
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target

Shape = tuple[int | str, ...]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Measured:
    """What a file holds, needs and takes. Of `costs` a figure is None where the graph does not tell it."""

    file: Path
    input_name: str
    input_shape: Shape
    size_bytes: int
    costs: Counts
    latency: Latency

    @property
    def note(self) -> str:
        """Why figures are unknown; empty where none is."""
        return f"unknown: {'; '.join(self.costs.unknown)}" if self.costs.unknown else ""


def measure_model(file: Path, *, threads: int, batch: int, agent: str | None = None) -> Measured:
    """Measure an ONNX file with one float32 input of four dimensions, here or by the agent at an address.

    Raises InputError where that cannot be.
    """
    model = read_model(file)
    name, shape = image_input(model, file)
    if isinstance(shape[0], int) and shape[0] not in (0, batch):
        raise InputError(f"--batch: expected {shape[0]}, which {file} is fixed to, got {batch}")
    target = Target(name="cpu", threads=threads, batch=batch)
    latency = _measure_here(file, target) if agent is None else measure_there(file, target, agent)
    return Measured(file, name, shape, size_of(file), count(model), latency)


def _measure_here(file: Path, target: Target) -> Latency:
    try:
        return measure(file, target)
    except RuntimeRefused as error:
        raise InputError(f"{file}: ONNX Runtime cannot run it: {error}") from None


def read_model(file: Path) -> onnx.ModelProto:
    """The graph, without weights that lie beside the file."""
    try:
        model = onnx.load(file, load_external_data=False)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise InputError(f"{file}: expected an ONNX file, got something else") from None
    if not model.graph.node:
        raise InputError(f"{file}: expected an ONNX file with a graph, got none")
    return model


def image_input(model: onnx.ModelProto, file: Path) -> tuple[str, Shape]:
    """Name and shape of the only input; a symbolic dimension is its name."""
    stored = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InputError(f"{file}: expected one input, got {len(inputs)} ({names})")
    tensor = inputs[0].type.tensor_type
    shape: Shape = tuple(d.dim_value or d.dim_param or "?" for d in tensor.shape.dim)
    is_image = len(shape) == 4 and all(isinstance(size, int) for size in shape[1:])
    if tensor.elem_type != TensorProto.FLOAT or not is_image:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else "no tensor"
        raise InputError(
            f"{file}: expected an input of float32 images with three fixed dimensions behind the batch, "
            f"got {inputs[0].name!r}, {kind} ({', '.join(map(str, shape))})"
        )
    return inputs[0].name, shape


def size_of(file: Path) -> int:
    """Bytes of the file and of those beside it that hold its weights."""
    model = onnx.load(file, load_external_data=False)
    outside = [w for w in model.graph.initializer if external_data_helper.uses_external_data(w)]
    beside = {external_data_helper.ExternalDataInfo(weight).location for weight in outside}
    return file.stat().st_size + sum((file.parent / name).stat().st_size for name in beside)


def as_json(measured: Measured) -> str:
    """All that was measured, in the files' units: null is unknown, and `note` says why."""
    costs, latency = measured.costs, measured.latency
    fields: dict[str, Any] = {
        "file": str(measured.file),
        "input": {"name": measured.input_name, "shape": list(measured.input_shape)},
        "parameters": costs.parameters,
        "macs": costs.macs,
        "size_bytes": measured.size_bytes,
        "peak_memory_bytes": costs.peak_memory_bytes,
        "latency_ms": latency.latency_ms,
        "stable": latency.stable,
        "protocol": latency.protocol,
        "control_ms": latency.control_ms,
        "fingerprint": latency.fingerprint.model_dump(mode="json"),
    }
    return json.dumps(fields | ({"note": measured.note} if measured.note else {}), indent=2)


def as_table(measured: Measured) -> Table:
    """The same for a terminal."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for label, value in _lines(measured):
        table.add_row(label, value)
    return table


def _count(figure: int | None) -> str:
    return UNKNOWN if figure is None else f"{figure:,}"


def _lines(measured: Measured) -> Iterable[tuple[str, str]]:
    costs, latency = measured.costs, measured.latency
    device = latency.fingerprint
    yield "input", f"{measured.input_name} ({', '.join(map(str, measured.input_shape))})"
    yield "parameters", _count(costs.parameters)
    yield "MACs", _count(costs.macs)
    yield "size", f"{measured.size_bytes / 1000:.1f} KB"
    yield "peak memory", UNKNOWN if costs.peak_memory_bytes is None else f"{costs.peak_memory_bytes / 1000:.1f} KB"
    unstable = "" if latency.stable else "  (unstable: no two undisturbed passes agreed)"
    yield "latency", f"{latency.latency_ms:.4f} ms{unstable}"
    yield "protocol", latency.protocol
    threads = "1 thread" if device.threads == 1 else f"{device.threads} threads"
    yield "device", f"{device.device}, {device.runtime}, {threads}, batch {device.batch}"
    if measured.note:
        yield "note", measured.note
