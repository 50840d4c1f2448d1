"""Mixes: what a space is that names a preset and no family, for who knows nothing of spaces.

Kinds of blocks that stood on the front of accuracy and milliseconds, or of accuracy and bytes, of 10 000 images of
CIFAR-10 (`studies/benchmarks/kinds.py`), from files of about 10 KB, pruned and in few bits, to about 2 MB in int8. As
few kinds as that takes: a search begins at both ends of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AUTO = "auto"  # the family that stands for them

BLOCKS: Mapping[str, Any] = {
    "plain": {"kernels": (3,)},
    "fused_inverted_residual": {"kernels": (3,), "expansions": (2,)},
    "inverted_residual": {"kernels": (3,), "expansions": (2, 4)},
}
DENSE = ("plain", "fused_inverted_residual")  # on large maps depthwise layers take long for what they compute


def _mix(input_size: int, stem_stride: int, *rows: tuple[tuple[int, ...], tuple[int, ...], int]) -> dict[str, Any]:
    stages = [{"depths": depths, "widths": widths, "stride": stride} for depths, widths, stride in rows]
    stages[0]["families"] = DENSE
    return {
        "input_size": input_size,
        "stem_widths": (8, 16, 32),
        "stem_stride": stem_stride,
        "stages": tuple(stages),
        "head_widths": (0,),
        "blocks": BLOCKS,
    }


# depths, widths, stride of each stage
THREE = (((1, 2), (16, 32, 48), 2), ((1, 2, 3), (24, 48, 96), 2), ((1, 2), (32, 64, 128, 224), 2))
FOUR = (((1,), (16, 24, 32), 2), *THREE)

MIXES: Mapping[str, Mapping[str, Any]] = {
    "8px": _mix(8, 1, ((1, 2), (16, 32), 1), ((1, 2), (24, 48), 2)),
    "32px": _mix(32, 1, *THREE),
    "64px": _mix(64, 2, *THREE),
    "96px": _mix(96, 2, *THREE),
    "128px": _mix(128, 2, *FOUR),
    "224px": _mix(224, 2, *FOUR),
}
