"""The processor of this machine: its name, its instruction sets, and the fingerprint of what is timed on it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nas.records import Fingerprint

if TYPE_CHECKING:
    from nas.study import Target  # which asks a runtime for its default provider

INSTRUCTION_SETS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


@cache
def sums_may_overflow() -> bool:
    """Whether the runtime's default kernels add pairs of 8-bit products in saturating int16 here: x86 without VNNI.

    `EXACT_SUMS` has it take exact ones, which are slower; where there is VNNI that would cost half of the speed.
    """
    _, flags = processor()
    return "sse4_1" in flags and not flags & {"avx_vnni", "avx512_vnni"}


def processor() -> tuple[str, frozenset[str]]:
    """Model name and instruction sets; Linux tells both, elsewhere the platform's name must do."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    found = {key.strip(): value.strip() for key, value in fields.items()}
    model = found.get("model name") or board() or platform.machine()
    return model, frozenset(found.get("flags", found.get("Features", "")).split())


def board(device_tree: Path = Path("/proc/device-tree/model")) -> str:
    """What a board calls itself, "Raspberry Pi 5 Model B Rev 1.0": processors of ARM have no name of their own."""
    try:
        return device_tree.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""


def fingerprint_of(target: Target, runtime: str, accelerator: str = "") -> Fingerprint:
    """What latencies of a target on this machine depend on.

    `runtime` is the engine's name and version, `accelerator` what computes where that is not the processor.
    """
    model, flags = processor()
    return Fingerprint(
        device=f"{accelerator} beside {model}" if accelerator else model,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        runtime=runtime,
        provider=target.provider,
        threads=target.threads,
        batch=target.batch,
    )
