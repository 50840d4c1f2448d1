"""The page: report.html, one file that opens without network, from a run folder's tables and records."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.records import Evaluation, State
from nas.report import summary
from nas.report.details import Artifact, facts, layer_rows, machine_facts, read_artifact
from nas.report.figures import FIGURES, Figure, accuracy_text, figure, present
from nas.report.progress import Progress, progress
from nas.report.tables import disagrees, front_rows, read_finalists, read_front, read_trials, records
from nas.study import Study
from nas.study_file import load_study

Row = dict[str, Any]

MAX_DETAILED = 100  # members shown layer by layer: a search-time front may be long, the page stays light


@dataclass(frozen=True, slots=True)
class Run:
    """All the page is made from."""

    folder: Path
    study: Study
    trials: pd.DataFrame
    finalists: pd.DataFrame
    front: list[Row]
    artifacts: list[Artifact]

    @property
    def evaluations(self) -> list[Evaluation]:
        return [a.evaluation for a in self.artifacts if a.evaluation is not None]

    @property
    def final(self) -> bool:
        """Whether the front stands on finalists rather than on search-time figures."""
        standing = (self.finalists["state"] == State.COMPLETE) & ~disagrees(self.finalists)
        return bool(standing.any())


def write_html(folder: Path) -> Path:
    """Write `folder`/report.html and return its path; works on a run that is still going on."""
    path = folder / "report.html"
    page = render(read_run(folder))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def read_run(folder: Path) -> Run:
    study = load_study(folder / "study.yaml")
    front = read_front(folder)
    if front.empty:
        front = front_rows(folder)
    rows = records(front)
    artifacts = [read_artifact(folder, row["artifact"]) for row in rows]
    for row, artifact in zip(rows, artifacts, strict=True):
        row |= _other_latencies(row, artifact.evaluation)
    return Run(folder, study, read_trials(folder), read_finalists(folder), rows, artifacts)


def _other_latencies(row: Row, evaluation: Evaluation | None) -> Row:
    """Latencies on targets front.csv has no column for, from the same evaluation."""
    if evaluation is None or evaluation.measurement is None:
        return {}
    measured = evaluation.measurement.latency
    others = {f"latency_ms@{name}": measured[name].latency_ms for name in measured if name != evaluation.target}
    return {key: value for key, value in others.items() if key not in row}


def render(run: Run) -> str:
    """The page as text."""
    loader = PackageLoader("nas.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    axes = shown_figures(run)
    curve = progress(run.trials, run.study.objectives, run.study.report.hypervolume_reference)
    return environment.get_template("template.html").render(
        run=run,
        title=run.study.report.title or run.study.name,
        folder=run.folder.resolve().name,
        when=summary.when(run.trials),
        data=summary.data_words(run.study),
        states=summary.state_counts(run.trials),
        offer=summary.offer(run.front),
        tiles=summary.tiles(run.front),
        machine=machine_facts(run.evaluations),
        axes=axes,
        columns=[axis for axis in axes if axis.is_cost],
        rows=[front_row(run.folder, row, axes) for row in run.front],
        infeasible=int((run.trials["state"] == State.INFEASIBLE).sum()),
        curve=curve,
        objectives=", ".join(figure(name).label for name in run.study.objectives),
        reference=reference_words(curve),
        members=list(zip(run.front, run.artifacts, strict=True))[:MAX_DETAILED],
        facts=facts,
        figure=figure,
        problems=summary.problems(run.trials, run.finalists),
        methods=summary.methods(run.study, run.evaluations),
        payload=safe_json(payload(run, axes, curve)),
        plotly=script(resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")),
        page_js=script(_own("page.js")),
        page_css=Markup(_own("page.css")),
    )


def _own(name: str) -> str:
    return resources.files("nas.report").joinpath(name).read_text("utf-8")


def script(source: str) -> Markup:
    """JavaScript inside a script element: nothing in it may end the element early."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def safe_json(data: Any) -> Markup:
    """JSON inside a script element: strict (no NaN), and without a character HTML gives a meaning to."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def shown_figures(run: Run) -> list[Figure]:
    """The figures anybody measured, each target's latency apart, in the order of FIGURES."""
    rows = [*run.front, *records(run.trials)]
    keys = dict.fromkeys(key for row in rows for key in row if key.partition("@")[0] in FIGURES)
    measured = [key for key in keys if any(present(row.get(key)) for row in rows)]
    order = list(FIGURES)
    return [figure(key) for key in sorted(measured, key=lambda k: (order.index(k.partition("@")[0]), k))]


def default_axes(study: Study, axes: Sequence[Figure]) -> tuple[str, str]:
    """Accuracy over latency or the first cost that is an objective; costs alone where accuracy is no matter."""
    known = [axis.key for axis in axes]
    wanted = [key for key in ("latency_ms", "size_bytes") if key in study.objectives]
    costs = [key for key in (*wanted, *study.objectives, *known) if key in known and key != "accuracy"]
    costs = list(dict.fromkeys(costs)) or ["latency_ms"]
    without = "accuracy" not in study.objectives and len(study.objectives) > 1
    if "accuracy" not in known or without:
        return costs[0], costs[min(1, len(costs) - 1)]
    return costs[0], "accuracy"


def front_row(folder: Path, row: Row, axes: Sequence[Figure]) -> dict[str, Any]:
    """One row of the front table: cells as (text, value to sort by)."""
    accuracies = [("accuracy", "accuracy_se"), ("test_accuracy", "test_accuracy_se")]
    cells = [(accuracy_text(row[key], row[se]), row[key]) for key, se in accuracies]
    cells += [(axis.text(row.get(axis.key)), row.get(axis.key)) for axis in axes if axis.is_cost]
    return {key: row[key] for key in ("trial", "id", "flags")} | {"cells": cells, "link": link(folder, row)}


def link(folder: Path, row: Row) -> str | None:
    """Relative address of the member's model.onnx, None where it is missing or outside the run folder."""
    root, path = folder.resolve(), (folder / row["artifact"] / "model.onnx").resolve()
    if not row["artifact"] or not path.is_relative_to(root) or not path.exists():
        return None
    return quote(path.relative_to(root).as_posix())


def reference_words(curve: Progress) -> str:
    return ", ".join(f"{figure(k).label} {figure(k).text(v, unit=True)}" for k, v in curve.reference.items())


def payload(run: Run, axes: Sequence[Figure], curve: Progress) -> dict[str, Any]:
    """What page.js draws from; every text in it is already escaped for the plot's hover labels."""
    x, y = default_axes(run.study, axes)
    known = {row["trial"] for row in run.front}
    trials = records(run.trials)
    # A search-time front is the same rows again; finalists were trained anew and stand beside theirs.
    grey = [r for r in trials if r["state"] == State.COMPLETE and (run.final or r["number"] not in known)]
    infeasible = [r for r in trials if r["state"] == State.INFEASIBLE]
    others = [r for r in records(run.finalists) if r["state"] == State.COMPLETE and r["trial"] not in known]
    return {
        "axes": [_axis(axis) for axis in axes],
        "x": x,
        "y": y,
        "final": run.final,
        "front": points(run.front, axes),
        "finalists": points(others if run.final else [], axes),
        "complete": points(grey, axes),
        "infeasible": points(infeasible, axes),
        "progress": {"trials": curve.trials, "values": curve.values},
        "layers": [layer_rows(a.evaluation.layers if a.evaluation else ()) for a in run.artifacts[:MAX_DETAILED]],
    }


def _axis(axis: Figure) -> dict[str, Any]:
    return {"key": axis.key, "title": axis.title, "cost": axis.is_cost, "unit": axis.unit}


def points(rows: Sequence[Row], axes: Sequence[Figure]) -> dict[str, Any]:
    """Columns for one trace: values in the screen's unit, None where not measured, and the hover label."""
    values = {axis.key: [_scaled(row.get(axis.key), axis) for row in rows] for axis in axes}
    errors = [_scaled(row.get("accuracy_se"), FIGURES["accuracy"]) for row in rows]
    return {"values": values, "se": errors, "hover": [hover(row, axes) for row in rows]}


def _scaled(value: float | None, axis: Figure) -> float | None:
    return float(f"{float(value) * axis.scale:.7g}") if value is not None and present(value) else None


def hover(row: Mapping[str, Any], axes: Sequence[Figure]) -> str:
    """A hover label with all figures; plotly reads tags in it, so data is escaped."""
    number = row.get("trial", row.get("number"))
    lines = [f"<b>trial {number}</b>  {html.escape(str(row['id']))}"]
    if present(row.get("accuracy")):
        lines.append(f"validation {accuracy_text(row['accuracy'], row.get('accuracy_se'))} %")
    if present(row.get("test_accuracy")):
        lines.append(f"test {accuracy_text(row['test_accuracy'], row['test_accuracy_se'])} %")
    for axis in axes:
        if axis.is_cost and present(row.get(axis.key)):
            lines.append(f"{html.escape(axis.label)} {axis.text(row[axis.key], unit=True)}")
    if row.get("state") == State.INFEASIBLE:
        lines.append(html.escape(str(row["reason"])[:80]))
    return "<br>".join(lines)
