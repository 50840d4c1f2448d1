"""ONNX Runtime's own post-training quantization, as its documentation shows it: what our files are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

BATCH = 32


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: np.ndarray[Any, Any]) -> None:
        self._batches = iter([{"image": images[i : i + BATCH]} for i in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return next(self._batches, None)


def quantize(float_file: Path, quantized_file: Path, images: np.ndarray[Any, Any]) -> None:
    """int8 with unsigned activations and per-channel weights, ranges from `images` float32 (N, C, H, W)."""
    prepared = quantized_file.with_suffix(".prepared.onnx")
    quant_pre_process(str(float_file), str(prepared))
    quantize_static(
        str(prepared),
        str(quantized_file),
        _Images(images),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    prepared.unlink()
