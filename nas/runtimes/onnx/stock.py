"""ONNX Runtime's own quantization after training, as its documentation shows it: what our files are compared with."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nas.files import write_atomically
from nas.runtimes.runtime import Array

BATCH = 32


def quantize_stock(float_file: Path, quantized_file: Path, images: Array) -> None:
    """Pre-process a float32 file and quantize it: unsigned activations, signed weights per channel.

    Ranges are those of `images`, float32 (N, C, H, W). What the file says about itself is kept.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(images), BATCH))

        def get_next(self) -> dict[str, Array] | None:
            start = next(self._starts, None)
            return None if start is None else {"image": images[start : start + BATCH]}

    with tempfile.TemporaryDirectory() as place:
        prepared, made = Path(place) / "prepared.onnx", Path(place) / "quantized.onnx"
        quant_pre_process(str(float_file), str(prepared))
        quantize_static(
            str(prepared),
            str(made),
            Images(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        model = onnx.load(made)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(float_file, load_external_data=False).metadata_props)
    write_atomically(quantized_file, model.SerializeToString())
