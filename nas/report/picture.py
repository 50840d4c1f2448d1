"""The picture: front.png, the front over two costs side by side, for a README."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import font_manager, rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nas.records import QUALITIES
from nas.report.figures import Figure, figure, present
from nas.report.references import Reference, references_of
from nas.report.tables import front_among, front_rows, read_trials, records, stands
from nas.study import Study
from nas.study.file import load_study

ACCENT, GREY, INK, MUTED, LINE, BASELINE = "#0b7a75", "#a3a9b0", "#1d2023", "#646b73", "#e3e3de", "#c26a12"
FAMILIES = ("Inter", "Segoe UI", "Helvetica Neue", "Arial", "Liberation Sans")
NOT_DRAWN = ("backend", "backend_fallback")  # settings that are about windows
SIZE_INCHES, DPI = (10.0, 4.375), 160  # 1600 x 700 pixels
# Where a label may stand beside its point, in points; above and below come last, where error bars are.
PLACES = ((10, 4), (-10, 4), (10, -11), (-10, -11), (13, -3), (-13, -3), (0, 9), (0, -16))
LABEL = (16.0, 10.0)  # about the width and height of one label, points

TICK_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    tuple(1 + i / 2 for i in range(18)),
    tuple(1 + i / 10 for i in range(90)),
)
KEY, BARS = "green: front, with trial numbers   grey: search trials", "bars: ± one standard error"
STARS = "stars: baseline"
TITLE_WIDTH = 80  # characters of a line

Axes = Any  # matplotlib has no types
Points = np.ndarray[Any, np.dtype[np.float64]]


def write_picture(folder: Path) -> Path:
    """Write `folder`/front.png and return its path; works on a run that is still going on."""
    study = load_study(folder / "study.yaml")
    trials, front = read_trials(folder), front_rows(folder)
    references = references_of(folder, records(front), study.objectives)
    path = folder / "front.png"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    complete = trials[stands(trials)]
    settings = {name: value for name, value in rcParamsDefault.items() if name not in NOT_DRAWN}
    with rc_context(settings | {"font.family": _font()}):  # a matplotlibrc of the user's folder changes nothing
        draw(study, complete, front, references).savefig(temporary, format="png", dpi=DPI)
    temporary.replace(path)
    return path


def _font() -> str:
    """The first of these families that is installed: naming an absent one warns at every text."""
    installed = set(font_manager.get_font_names())
    return next(name for name in (*FAMILIES, "DejaVu Sans") if name in installed or name == "DejaVu Sans")


def draw(study: Study, complete: pd.DataFrame, front: pd.DataFrame, references: Sequence[Reference] = ()) -> Canvas:
    """The figure: one panel for each pair of axes, a title over both."""
    padding = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04)
    canvas = Canvas(figsize=SIZE_INCHES, dpi=DPI, facecolor="white", layout=padding)
    FigureCanvasAgg(canvas)
    title = (study.report.title or study.name).replace("$", r"\$")  # a dollar would start a formula
    title = textwrap.fill(title, TITLE_WIDTH)
    canvas.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    pairs = panels(study)
    beside = [reference for reference in references if reference.is_complete]
    bars = [BARS] if any(y == "accuracy" for _, y in pairs) else []
    key = "   ".join([KEY, *([STARS] if beside else []), *bars])
    canvas.supxlabel(key, x=0.99, ha="right", fontsize=8.5, color=MUTED)
    panes = list(zip(canvas.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True))
    for axes, (x, y) in panes:
        _stars(axes, beside, figure(x), figure(y))
        _panel(axes, complete, front, figure(x), figure(y))
    canvas.draw_without_rendering()  # only the finished layout says where labels have room
    for axes, (x, y) in panes:
        _label(axes, _spots(front, beside, figure(x), figure(y)))
    return canvas


def panels(study: Study) -> list[tuple[str, str]]:
    """The quality over latency and size where these are objectives, else over the first two costs that are.

    Without a quality among the objectives the costs stand against each other.
    """
    objectives = study.objectives
    quality = next((key for key in objectives if key in QUALITIES), None)
    preferred = [key for key in ("latency_ms", "size_bytes") if key in objectives]
    costs = [key for key in objectives if key not in QUALITIES]
    if quality is None and len(costs) > 1:
        return [(costs[0], costs[1]), (costs[0], costs[2] if len(costs) > 2 else "accuracy")]
    chosen = preferred if len(preferred) == 2 else costs[:2]
    chosen += [key for key in ("latency_ms", "size_bytes") if key not in chosen]
    return [(key, quality or "accuracy") for key in chosen[:2]]


def _panel(axes: Axes, complete: pd.DataFrame, front: pd.DataFrame, x: Figure, y: Figure) -> None:
    members = front[front[[x.key, y.key]].notna().all(axis=1)]
    _style(axes, x, y)
    rest = complete[complete[[x.key, y.key]].notna().all(axis=1)]
    if members.empty and rest.empty:
        axes.text(0.5, 0.5, "no trial is complete yet", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    axes.scatter(_shown(rest, x), _shown(rest, y), s=16, color=GREY, alpha=0.55, linewidths=0)
    _staircase(axes, members, x, y)
    if y.key == "accuracy":
        errors = 100 * members["accuracy_se"].fillna(0)
        at = (_shown(members, x), _shown(members, y))
        axes.errorbar(*at, errors, fmt="none", ecolor=ACCENT, elinewidth=0.8, alpha=0.35)
    dots = {"s": 52, "color": ACCENT, "edgecolors": "white", "linewidths": 1.1, "zorder": 3}
    axes.scatter(_shown(members, x), _shown(members, y), **dots)
    for axis, cost in ((axes.xaxis, x), (axes.yaxis, y)):
        if cost.is_cost:
            log_ticks(axes, axis)


def _stars(axes: Axes, references: Sequence[Reference], x: Figure, y: Figure) -> None:
    for reference in _measured(references, x, y):
        at = reference.row[x.key] * x.scale, reference.row[y.key] * y.scale
        axes.scatter(*at, s=110, marker="*", color=BASELINE, edgecolors="white", linewidths=0.8, zorder=4)


def _measured(references: Sequence[Reference], x: Figure, y: Figure) -> list[Reference]:
    return [one for one in references if present(one.row.get(x.key)) and present(one.row.get(y.key))]


def _shown(frame: pd.DataFrame, of: Figure) -> Points:
    values: Points = frame[of.key].to_numpy(dtype="float64") * of.scale
    return values


def _style(axes: Axes, x: Figure, y: Figure) -> None:
    axes.set_xlabel(x.title, color=MUTED, fontsize=10)
    axes.set_ylabel(y.title, color=MUTED, fontsize=10)
    axes.tick_params(colors=MUTED, labelsize=9, length=3, color=LINE)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(0.07)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(LINE)


def _staircase(axes: Axes, members: pd.DataFrame, x: Figure, y: Figure) -> None:
    """Joins the members that lead in these two figures; the others lead in another objective."""
    if members.empty:
        return
    lead = members.iloc[front_among(members, [x.key, y.key])].sort_values(x.key)
    axes.plot(_shown(lead, x), _shown(lead, y), drawstyle="steps-post", color=ACCENT, linewidth=1.2, alpha=0.55)


def log_ticks(axes: Axes, axis: Any) -> None:
    """A log axis with round numbers written out: powers of ten alone often leave one tick or none."""
    name = "x" if axis is axes.xaxis else "y"
    getattr(axes, f"set_{name}scale")("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1000 else f"{v:.4g}"))


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers within [low, high], at most 7 of them, dense enough for a narrow range."""
    decades = [10.0**e for e in range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)]
    powers = [decade for decade in decades if low <= decade <= high]
    found = powers[:: math.ceil(len(powers) / 7) or 1]
    for steps in TICK_STEPS:
        denser = [decade * step for decade in decades for step in steps if low <= decade * step <= high]
        if len(denser) > 7:
            break
        found = denser
    return found


def _spots(
    front: pd.DataFrame, references: Sequence[Reference], x: Figure, y: Figure
) -> list[tuple[str, float, float]]:
    """What is labelled, with its place in a panel: members by their trial's number, references by their format."""
    members = front[front[[x.key, y.key]].notna().all(axis=1)]
    numbered = zip(map(str, members["trial"]), _shown(members, x), _shown(members, y), strict=True)
    named = [(one.form, one.row[x.key] * x.scale, one.row[y.key] * y.scale) for one in _measured(references, x, y)]
    return [*numbered, *named]


def _label(axes: Axes, labelled: Sequence[tuple[str, float, float]]) -> None:
    """Labels beside their points, each in the first of PLACES that is free, left out where none is."""
    if not labelled:
        return
    spots = axes.transData.transform([[x, y] for _, x, y in labelled]) * 72 / DPI
    taken = [(px, py) for px, py in spots]
    for (px, py), (name, _, _) in zip(spots, labelled, strict=True):
        place = free_place((px, py), taken)
        if place is not None:
            taken.append((px + place[0], py + place[1] + 3))
            axes.annotate(
                name, axes.transData.inverted().transform((px * DPI / 72, py * DPI / 72)), xytext=place,
                textcoords="offset points", ha="center", fontsize=8.5, color=INK,
            )  # fmt: skip


def free_place(spot: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[int, int] | None:
    """An offset, in points, at which a label beside `spot` overlaps nothing in `taken`."""
    for dx, dy in PLACES:
        center = (spot[0] + dx, spot[1] + dy + 3)
        others = [other for other in taken if other != spot]
        if all(abs(center[0] - tx) > LABEL[0] or abs(center[1] - ty) > LABEL[1] for tx, ty in others):
            return dx, dy
    return None
