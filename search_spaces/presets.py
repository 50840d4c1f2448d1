"""Presets: stems, stages and heads that suit an input size, for every family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _stages(*rows: tuple[tuple[int, ...], tuple[int, ...], int]) -> tuple[dict[str, Any], ...]:
    return tuple({"depths": depths, "widths": widths, "stride": stride} for depths, widths, stride in rows)


_96PX: Mapping[str, Any] = {
    "input_size": 96,
    "stem_widths": (16, 24, 32),
    "stem_stride": 2,
    "stages": _stages(
        ((1, 2), (16, 24), 1),
        ((1, 2, 3), (24, 32), 2),
        ((1, 2, 3), (32, 48), 2),
        ((1, 2, 3, 4), (64, 80, 96), 2),
        ((1, 2, 3), (96, 128, 160), 2),
    ),
    "head_widths": (256, 384, 512),
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "8px": {
        "input_size": 8,
        "stem_widths": (8, 16),
        "stages": _stages(((1, 2), (8, 16, 24), 1), ((1, 2), (16, 24, 32), 2), ((1, 2), (24, 32, 48), 2)),
        "head_widths": (32, 64, 96),
    },
    "32px": {
        "input_size": 32,
        "stem_widths": (16, 24, 32),
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32, 48), 2),
            ((1, 2, 3, 4), (48, 64, 96), 2),
            ((1, 2, 3), (96, 128, 160), 2),
        ),
        "head_widths": (128, 192, 256),
    },
    "64px": {
        "input_size": 64,
        "stem_widths": (16, 24, 32),
        "stem_stride": 2,
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32, 48), 2),
            ((1, 2, 3, 4), (48, 64, 96), 2),
            ((1, 2, 3), (96, 128, 160), 2),
        ),
        "head_widths": (192, 256, 384),
    },
    "96px": _96PX,
    "128px": {**_96PX, "input_size": 128},
    "224px": {
        "input_size": 224,
        "stem_widths": (16, 24, 32),
        "stem_stride": 2,
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32), 2),
            ((2, 3, 4), (32, 40, 48), 2),
            ((2, 3, 4), (64, 80), 2),
            ((1, 2, 3), (96, 112), 1),
            ((1, 2, 3), (160, 192), 2),
        ),
        "head_widths": (640, 960, 1280),
    },
}

FAMILY_PRESETS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("mobile", "8px"): {"kernels": (3, 5)},
    ("shuffle", "8px"): {"kernels": (3, 5)},
}
