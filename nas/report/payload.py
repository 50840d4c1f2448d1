"""What page.js draws from, as plain data; every text in it is escaped already for the plots' hover labels."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nas.records import State
from nas.report.details import layer_rows
from nas.report.figures import FIGURES, Figure, accuracy_text, per_cent, present, share_text
from nas.report.parallel import parallel
from nas.report.progress import Progress
from nas.report.run import Row, Run, default_axes, other_qualities
from nas.report.tables import figures_in, kept_off, records
from nas.study import Study

MAX_DETAILED = 100  # members shown layer by layer: a search-time front may be long, the page stays light


def payload(run: Run, axes: Sequence[Figure], curve: Progress) -> dict[str, Any]:
    """What page.js draws from; every text in it is already escaped for the plot's hover labels."""
    x, y = default_axes(run.study, axes)
    known, final = {row["trial"] for row in run.front}, run.final
    sound = run.trials[~kept_off(run.trials)]  # a file that computes something else is no point to compare
    trials = figures_in(sound)
    # A search-time front is the same rows again; finalists were trained again and stand beside theirs.
    grey = [r for r in trials if r["state"] == State.COMPLETE and (final or r["number"] not in known)]
    infeasible = [r for r in trials if r["state"] == State.INFEASIBLE]
    shown = {row["artifact"] for row in run.front}  # of one trial there may be finalists with several recipes
    others = [r for r in records(run.finalists) if r["state"] == State.COMPLETE and r["artifact"] not in shown]
    return {
        "axes": [_axis(axis) for axis in axes],
        "x": x,
        "y": y,
        "final": final,
        "front": points(run.front, axes, run.study),
        "references": points([r.row for r in run.references if r.is_complete], axes, run.study),
        "finalists": points(others if final else [], axes, run.study),
        "complete": points(grey, axes, run.study),
        "infeasible": points(infeasible, axes, run.study),
        "progress": {"trials": curve.trials, "values": curve.values},
        "parallel": parallel(sound, known, run.study.objectives),
        "gap": gap(trials, known),
        "layers": [layer_rows(a.evaluation.layers if a.evaluation else ()) for a in run.artifacts[:MAX_DETAILED]],
    }


def _axis(axis: Figure) -> dict[str, Any]:
    return {"key": axis.key, "title": axis.title, "cost": axis.is_cost, "unit": axis.unit}


def points(rows: Sequence[Row], axes: Sequence[Figure], study: Study) -> dict[str, Any]:
    """Columns for one trace: values in the screen's unit, None where not measured, and the hover label."""
    values = {axis.key: [_scaled(row.get(axis.key), axis) for row in rows] for axis in axes}
    errors = [_scaled(row.get("accuracy_se"), FIGURES["accuracy"]) for row in rows]
    return {"values": values, "se": errors, "hover": [hover(row, axes, study) for row in rows]}


def _scaled(value: float | None, axis: Figure) -> float | None:
    return float(f"{float(value) * axis.scale:.7g}") if value is not None and present(value) else None


def hover(row: Mapping[str, Any], axes: Sequence[Figure], study: Study) -> str:
    """A hover label with all figures; plotly reads tags in it, so data is escaped."""
    lines = [f"<b>{_name(row)}</b>  {html.escape(str(row['id']))}"]
    if row.get("recipe"):
        lines.append(html.escape(str(row["recipe"])))
    if present(row.get("accuracy")):
        lines.append(f"validation {accuracy_text(row['accuracy'], row.get('accuracy_se'))} %")
    if present(row.get("test_accuracy")):
        lines.append(f"test {accuracy_text(row['test_accuracy'], row['test_accuracy_se'])} %")
    if present(row.get("p_on_front")):
        lines.append(f"on the front with {share_text(row['p_on_front'])} %")
    if present(row.get("mean_accuracy")):
        lines.append(f"mean of {row['seeds']} seeds {per_cent(100 * row['mean_accuracy'])} %")
    for axis in axes:
        if (axis.is_cost or axis in other_qualities(study)) and present(row.get(axis.key)):
            lines.append(f"{html.escape(axis.label)} {axis.text(row[axis.key], unit=True)}")
    if row.get("state") == State.INFEASIBLE:
        lines.append(html.escape(str(row["reason"])[:80]))
    if row.get("flags"):
        lines.append(html.escape(str(row["flags"])))
    return "<br>".join(lines)


def _name(row: Mapping[str, Any]) -> str:
    """How readers know a row: a reference by its name, else by the trial's number."""
    return html.escape(str(row.get("reference") or f"trial {row.get('trial', row.get('number'))}"))


def gap(trials: Sequence[Row], front: Collection[int]) -> dict[str, Any]:
    """Training less validation accuracy, in points, of every complete trial that has both, at search time."""
    able = [
        row
        for row in trials
        if row["state"] == State.COMPLETE and present(row["train_accuracy"]) and present(row["accuracy"])
    ]
    points = [round(100 * (row["train_accuracy"] - row["accuracy"]), 3) for row in able]
    return {
        "points": points,
        "parameters": [row["parameters"] for row in able],
        "mean_bits": [None if row["mean_bits"] is None else round(row["mean_bits"], 3) for row in able],
        "front": [row["number"] in front for row in able],
        "trials": [row["number"] for row in able],
    }
