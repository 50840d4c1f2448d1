"""Mixes: what a space is that names a preset and no family, for who knows nothing of spaces.

Kinds of blocks that measured best for their milliseconds and bytes (`studies/benchmarks/kinds.py`), from files of about
10 KB, pruned and in few bits, to about 2 MB in int8. As few kinds as that takes: a search begins at both ends of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AUTO = "auto"  # the family that stands for them

Blocks = Mapping[str, Mapping[str, Any]]
PLAIN: Blocks = {"plain": {"kernels": (3,)}}
RESIDUAL: Blocks = {"residual": {"kernels": (3,), "expansions": (1,)}}
FUSED: Blocks = {"fused_inverted_residual": {"kernels": (3,), "expansions": (2,)}}
INVERTED: Blocks = {"inverted_residual": {"kernels": (3,), "expansions": (2, 4)}}
SMALL: Blocks = {**PLAIN, **RESIDUAL}  # dense blocks for images up to 32 pixels ...
LARGE: Blocks = {**RESIDUAL, **FUSED}  # ... and for larger ones, where plain ones reached less


def _mix(
    input_size: int, dense: Blocks, stem_stride: int, *rows: tuple[tuple[int, ...], tuple[int, ...], int]
) -> dict[str, Any]:
    """A space whose first stage is dense: on large maps depthwise layers take long for what they compute."""
    stages = [{"depths": depths, "widths": widths, "stride": stride} for depths, widths, stride in rows]
    stages[0]["families"] = tuple(dense)
    return {
        "input_size": input_size,
        "stem_widths": (8, 16, 32),
        "stem_stride": stem_stride,
        "stages": tuple(stages),
        "head_widths": (0,),
        "blocks": {**dense, **INVERTED},
    }


# depths, widths, stride of each stage
THREE = (((1, 2), (16, 32, 48), 2), ((1, 2, 3), (24, 48, 96), 2), ((1, 2), (32, 64, 128, 224), 2))
FOUR = (((1,), (16, 24, 32), 2), *THREE)

MIXES: Mapping[str, Mapping[str, Any]] = {
    "8px": _mix(8, SMALL, 1, ((1, 2), (16, 32), 1), ((1, 2), (24, 48), 2)),
    "32px": _mix(32, SMALL, 1, *THREE),
    "64px": _mix(64, LARGE, 2, *THREE),
    "96px": _mix(96, LARGE, 2, *THREE),
    "128px": _mix(128, LARGE, 2, *FOUR),
    "224px": _mix(224, LARGE, 2, *FOUR),
}
