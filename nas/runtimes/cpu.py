"""The processor of this machine: its name and instruction sets."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

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
    model = found.get("model name") or platform.machine()
    return model, frozenset(found.get("flags", found.get("Features", "")).split())
