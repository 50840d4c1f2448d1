"""What a plan asks of quantization, and in which of the ways there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compressors.plan import NETWORK, CompressionPlan

WHOLE_NETWORK: Mapping[str, bool] = {NETWORK: True}  # the decisions of a step that is told nothing further
# How formats are brought about -> the step; `aware` is what a plan without any of the steps asks for.
QUANTIZATIONS: Mapping[str, str] = {"aware": "quantized", "static": "calibrated", "dynamic": "dynamic"}
WITHOUT_TRAINING = ("calibrated", "dynamic")
DYNAMIC_FORMATS = ("fp32", "int8")


@dataclass(frozen=True)
class Quantize:
    """Layer -> weight format, none of them fp32."""

    formats: Mapping[str, str]


@dataclass(frozen=True)
class Calibrate:
    """Layer -> weight format, none of them fp32, of a network that is not trained with its rounding."""

    formats: Mapping[str, str]


@dataclass(frozen=True)
class QuantizeDynamically:
    """Linear layer -> int8: its inputs are put on a grid of their own range, image by image, when the network runs."""

    formats: Mapping[str, str]


def asked(plan: CompressionPlan) -> Quantize | None:
    """The formats that are trained for."""
    formats = _integers(plan)
    return Quantize(formats) if formats and not any(name in plan.steps for name in WITHOUT_TRAINING) else None


def static_asked(plan: CompressionPlan) -> Calibrate | None:
    """The formats that a trained network is rounded to."""
    return Calibrate(_integers(plan)) if _is_asked(plan, "calibrated") else None


def dynamic_asked(plan: CompressionPlan) -> QuantizeDynamically | None:
    """The formats of linear layers. Raises ValueError, with the layer, for others than int8."""
    if not _is_asked(plan, "dynamic"):
        return None
    formats = _integers(plan)
    for layer in (layer for layer, fmt in formats.items() if fmt not in DYNAMIC_FORMATS):
        raise ValueError(f"step dynamic: expected {' or '.join(DYNAMIC_FORMATS)} for {layer}, got {formats[layer]}")
    return QuantizeDynamically(formats)


def _integers(plan: CompressionPlan) -> dict[str, str]:
    return {layer: fmt for layer, fmt in plan.formats.items() if fmt != "fp32"}


def _is_asked(plan: CompressionPlan, name: str) -> bool:
    """Whether a plan asks for a step of the whole network that is told nothing further."""
    decisions = dict(plan.steps.get(name, {}))
    if decisions and decisions != WHOLE_NETWORK:
        raise ValueError(f"plan.steps.{name}: expected {WHOLE_NETWORK}, got {decisions}")
    return bool(decisions) and bool(_integers(plan))
