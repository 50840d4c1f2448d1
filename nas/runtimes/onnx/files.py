"""What runtimes that read ONNX share: the bytes of a network's file, and the costs of its graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from torch import fx, nn

from compressors.quantization.dynamic import DynamicLinear
from compressors.quantization.modules import QuantizedLayer
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit, emit_or_export
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.onnx.zeros import count_zeros
from nas.runtimes.runtime import FileCosts, FileHeader, FileZeros


def model_bytes(network: nn.Module, header: FileHeader, storage: Storage = SMALLEST) -> bytes:
    """The ONNX file of a network, its weights stored in this way.

    A quantized network is emitted by the table alone: torch's exporter would not keep its integers.
    """
    if isinstance(network, fx.GraphModule) and _is_quantized(network):
        return _serialized(emit(network, header, storage))
    return _serialized(emit_or_export(network, header, storage))


def _is_quantized(network: nn.Module) -> bool:
    return any(isinstance(module, QuantizedLayer | DynamicLinear) for module in network.modules())


def _serialized(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString()
    return data


def file_costs(file: Path) -> FileCosts:
    """Parameters, multiply-accumulates and peak memory by the file's graph."""
    return read_costs(onnx.load(file))


def file_zeros(file: Path) -> FileZeros:
    """What of the file's parameters is zero."""
    return count_zeros(onnx.load(file))
