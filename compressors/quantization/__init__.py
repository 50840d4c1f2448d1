"""Quantization: numerics, modules that train with it, where a network gets them, and how their ranges are set."""

from compressors.quantization.activations import ActivationQuantizer, observe
from compressors.quantization.calibration import calibrate
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear, refresh_scales
from compressors.quantization.numerics import PackedWeight

__all__ = [
    "ActivationQuantizer",
    "PackedWeight",
    "QuantizedConv2d",
    "QuantizedLinear",
    "calibrate",
    "observe",
    "prepare",
    "refresh_scales",
]
