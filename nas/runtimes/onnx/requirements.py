"""Which onnxruntime a file needs, told by its opset and the types of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# The first release that ran files of this kind, of 1.19.2, 1.21.1, 1.22.1, 1.23.0, 1.24.1 and 1.25.0 (CPU, x86).
BY_OPSET: Mapping[int, str] = {21: "1.19", 25: "1.24"}
BY_TYPE: Mapping[str, str] = {"INT4": "1.23", "INT2": "1.24"}  # the Cast to INT8 behind such weights


@dataclass(frozen=True)
class Requirement:
    """The oldest onnxruntime known to run a file ("": none is known) and what in the file asks for it."""

    version: str
    reason: str

    def __str__(self) -> str:
        return f"onnxruntime {self.version} or later ({self.reason})" if self.version else "onnxruntime"


NONE_KNOWN = Requirement("", "")


def requirement(opset: int, types: Iterable[str]) -> Requirement:
    """What a file of this opset whose weights are of these ONNX types needs."""
    found = [Requirement(BY_TYPE[name], f"its weights are of type {name}") for name in sorted(types) if name in BY_TYPE]
    if opset in BY_OPSET:
        found.append(Requirement(BY_OPSET[opset], f"it is of opset {opset}"))
    elif opset > max(BY_OPSET):
        return NONE_KNOWN  # newer than anything tried
    return max(found, key=lambda one: _numbers(one.version), default=NONE_KNOWN)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def requirement_of(model: Path) -> Requirement:
    """What a file needs; nothing known where it cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        loaded = onnx.load(model, load_external_data=False)
    except (OSError, DecodeError):
        return NONE_KNOWN
    opset = next((one.version for one in loaded.opset_import if one.domain in ("", "ai.onnx")), 0)
    return requirement(opset, {onnx.TensorProto.DataType.Name(weight.data_type) for weight in loaded.graph.initializer})
