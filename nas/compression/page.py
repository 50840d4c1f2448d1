"""The comparison as one page of HTML: self-contained, without a script, every text in it escaped. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.compression.comparison import LOW, Comparison, LayerChange, lines, percent, points, ratio
from nas.compression.doubts import doubts_of
from nas.report.details import machine_facts
from nas.report.figures import FIGURES, NONE, count

TILES = ("size_bytes", "latency_ms", "parameters")


def page(comparison: Comparison, *, data: str) -> str:
    """The page as text; `data` names the images."""
    loader = PackageLoader("nas.compression", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html").render(
        title=comparison.base,
        plan=comparison.plan,
        data=data,
        css=Markup(resources.files("nas.compression").joinpath("page.css").read_text("utf-8")),
        tiles=list(_tiles(comparison)),
        warnings=list(doubts_of(comparison)),
        lines=list(lines(comparison)),
        images=comparison.distance.images,
        rows=list(_rows(comparison.layers)),
        machine=" · ".join(f"{label}: {words}" for label, words in machine_facts([comparison.after])),
    )


def _tiles(comparison: Comparison) -> Iterator[dict[str, str]]:
    before, after = comparison.figures
    for name, label in (("test_accuracy", "test accuracy"), ("accuracy", "validation accuracy")):
        if after[name] is not None:
            yield {"label": label, "value": f"{percent(after[name])} %", "note": points(before[name], after[name])}
            break
    for name in TILES:
        part = ratio(before[name], after[name])
        if name in LOW and part:
            text = FIGURES[name].text(after[name], unit=True)
            yield {"label": FIGURES[name].label, "value": text, "note": _times(part)}


def _times(part: float) -> str:
    """What is left of a cost, in words."""
    return f"{1 / part:.2f}x smaller than before" if part <= 1 else f"{part:.2f}x what it was"


def _rows(layers: Sequence[LayerChange]) -> Iterator[dict[str, Any]]:
    most = {key: max((getattr(layer, key)[0] for layer in layers), default=1) for key in ("parameters", "macs")}
    for layer in layers:
        before, after = layer.channels
        ranks = f" (rank {', '.join(map(str, layer.ranks))})" if layer.ranks else ""
        yield {
            "name": layer.name,
            "kind": layer.before.kind,
            "channels": f"{before}" if before == after else f"{before} → {after}",
            "bars": [bar(*getattr(layer, key), most=most[key]) for key in most],
            "format": layer.formats + ranks,
            "ran": layer.ran,
            "zeros": NONE if layer.sparsity is None else percent(layer.sparsity),
        }


def bar(before: int, after: int, *, most: int) -> dict[str, str]:
    """Two lengths in per cent of the column's width, and both numbers; `most` is the largest of the column."""
    lengths = (100 * math.sqrt(number / max(1, most)) for number in (before, after))
    first, second = (f"{min(100.0, length):.1f}" for length in lengths)
    return {"before": first, "after": second, "words": f"{count(before)} → {count(after)}"}
