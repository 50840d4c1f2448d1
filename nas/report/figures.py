"""How figures are named and written on screens: the page, the picture, the terminal and the card alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeGuard

from nas.records import QUALITIES

NONE = "–"
THIN = "\u202f"  # narrow no-break space: 77 706 stays on one line
FIXED = "\u00a0"  # no-break space between a number and its unit


def significant(value: float, digits: int = 3) -> str:
    """`digits` significant digits, never in exponent form: 0.0312, 3.12, 312, 3 120."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits - 1 - exponent)}f}".replace(",", THIN)


def count(value: float) -> str:
    return f"{round(value):,}".replace(",", THIN)


def per_cent(value: float) -> str:
    return f"{value:.1f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One objective or cost: `key` is its column, `scale` takes the file's unit to the screen's."""

    key: str
    label: str
    unit: str
    scale: float
    write: Callable[[float], str]

    def text(self, value: float | None, *, unit: bool = False) -> str:
        """`value` in the file's unit, as a reader sees it; what was not measured is a dash."""
        if not present(value):
            return NONE
        shown = self.write(value * self.scale)
        return f"{shown}{FIXED}{self.unit}" if unit and self.unit else shown

    @property
    def title(self) -> str:
        """Label with unit, for axes and column heads."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def is_cost(self) -> bool:
        return self.key not in QUALITIES


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        figure.key: figure
        for figure in (
            Figure("accuracy", "validation accuracy", "%", 100, per_cent),
            Figure("balanced_accuracy", "balanced accuracy", "%", 100, per_cent),
            Figure("macro_f1", "macro F1", "%", 100, per_cent),
            Figure("latency_ms", "latency", "ms", 1, significant),
            Figure("size_bytes", "file size", "KB", 1e-3, significant),
            Figure("parameters", "parameters", "", 1, count),
            Figure("macs", "MACs", "", 1, count),
            Figure("peak_memory_bytes", "peak memory", "KB", 1e-3, significant),
            Figure("nonzero_parameters", "non-zero parameters", "", 1, count),
            Figure("coded_bytes", "coded size", "KB", 1e-3, significant),
        )
    }
)


def figure(key: str) -> Figure:
    """The figure of a column; `latency_ms@TARGET` is the latency on that target."""
    base, _, target = key.partition("@")
    if base not in FIGURES:
        raise ValueError(f"expected one of {', '.join(FIGURES)}, got {key!r}")
    known = FIGURES[base]
    if not target:
        return known
    return Figure(key, f"{known.label} on {target}", known.unit, known.scale, known.write)


def present(value: float | None) -> TypeGuard[float]:
    """Whether a table's cell holds a number: neither None nor pandas' NA nor NaN."""
    return isinstance(value, int | float) and math.isfinite(value)


def share_text(value: float | None) -> str:
    """A probability in per cent, whole; what is nearly sure is not called sure."""
    if not present(value):
        return NONE
    return ">99" if 0.99 < value < 1 else "<1" if 0 < value < 0.01 else f"{100 * value:.0f}"


def seeds_text(row: Mapping[str, Any]) -> str:
    """The mean accuracy of a candidate that was trained with several seeds, and how many: `97.6 (3)`."""
    mean = row.get("mean_accuracy")
    return f"{per_cent(100 * mean)} ({row['seeds']})" if present(mean) else NONE


def accuracy_text(value: float | None, se: float | None) -> str:
    """An accuracy in per cent with one standard error, `97.8 ± 0.9`; a small error keeps its digits, 0 is no error."""
    if not present(value):
        return NONE
    if not present(se) or se == 0:
        return per_cent(100 * value)
    digits = 2 if 0 < se < 0.0005 else 1
    return f"{100 * value:.{digits}f} ± {100 * se:.{digits}f}"
