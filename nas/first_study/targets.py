"""Where a network is to run, in one word: what is measured there and what a search trades off for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.errors import InputError
from nas.first_study.choices import Choice

DEFAULT_TARGET = "cpu"


@dataclass(frozen=True)
class TargetKind:
    """One word for a target. settings: its entry in `targets`. costs: what is traded off against quality."""

    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    costs: Sequence[str] = ("latency_ms", "size_bytes")


TARGETS: Mapping[str, TargetKind] = {
    "cpu": TargetKind("Latency is measured on this machine's processor, by ONNX Runtime, one thread, one image."),
    "openvino": TargetKind(
        "Latency is measured on this machine's processor, by OpenVINO, one thread, one image.", {"runtime": "openvino"}
    ),
    "cuda": TargetKind(
        "Latency is measured on this machine's GPU, by ONNX Runtime, one image.", {"provider": "CUDAExecutionProvider"}
    ),
    "elsewhere": TargetKind(
        "The network is to run elsewhere, so this machine's latency is no objective: multiply-accumulates, memory and "
        "bytes are the same anywhere.",
        costs=("macs", "peak_memory_bytes", "size_bytes"),
    ),
}


def target_named(name: str) -> TargetKind:
    """The row of a name. Raises InputError where there is none."""
    if name not in TARGETS:
        raise InputError(f"--target: expected one of {', '.join(TARGETS)}, got {name!r}")
    return TARGETS[name]


def choose_target(name: str) -> Choice:
    kind = target_named(name)
    label = name if name != "elsewhere" else DEFAULT_TARGET
    return Choice("targets", [{"name": label, **kind.settings, "threads": 1, "batch": 1}], kind.why)
