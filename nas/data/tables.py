"""A data summary for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from nas.data.describe import PARTS, DataSummary

MOST_CLASSES, SHOWN_EACH_END, SHOWN_NAMES, SHOWN_FILES = 24, 8, 3, 5


def data_table(summary: DataSummary) -> Table:
    """Images per class and part; of many classes the first and the last. `data_words` belong below it."""
    table = Table(title=f"{escape(summary.title)}: {len(summary.class_names)} classes")
    for column in ("class", *PARTS):
        table.add_column(column, justify="left" if column == "class" else "right", no_wrap=column != "class")
    for label in _shown(len(summary.class_names)):
        if label is None:
            hidden = len(summary.class_names) - 2 * SHOWN_EACH_END
            table.add_row(f"... {hidden} more ...", *["..."] * len(PARTS))
        else:
            counts = (f"{summary.images[part][label]:,}" for part in PARTS)
            table.add_row(escape(summary.class_names[label]), *counts)
    table.add_section()
    table.add_row("all", *(f"{summary.total(part):,}" for part in PARTS))
    return table


def _shown(classes: int) -> list[int | None]:
    """Class numbers in the order of their rows; None stands for those that are left out."""
    if classes <= MOST_CLASSES:
        return list(range(classes))
    return [*range(SHOWN_EACH_END), None, *range(classes - SHOWN_EACH_END, classes)]


def data_words(summary: DataSummary) -> Iterator[str]:
    """What no table holds, a line each: groups, what was left out and why, the cache."""
    yield from summary.notes
    if summary.groups:
        yield "groups: " + ", ".join(f"{count:,} in {part}" for part, count in summary.groups.items())
    for reason, names in summary.left_out.items():
        yield f"left out, {reason}: {len(names):,} ({_some(names)})"
    if summary.cached_bytes:
        yield f"decoded images take {megabytes(summary.cached_bytes)} in the cache"


def data_warnings(summary: DataSummary) -> Iterator[str]:
    """What the user may not want: unreadable images, and splits by groups that are far from what was asked for."""
    if summary.unreadable:
        more = f"\n  and {len(summary.unreadable) - SHOWN_FILES} more" if len(summary.unreadable) > SHOWN_FILES else ""
        lines = "\n  ".join(summary.unreadable[:SHOWN_FILES]) + more
        yield f"{len(summary.unreadable)} unreadable image file(s) left out:\n  {lines}"
    yield from summary.warnings


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def megabytes(count: int) -> str:
    """Bytes in units of 10^6, with as many digits as matter."""
    digits = ",.0f" if count >= 1e7 else ".1f" if count >= 1e5 else ".2g"
    return f"{count / 1e6:{digits}} MB"
