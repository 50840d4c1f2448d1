"""The page: report.html, one file that opens without network, from a run folder's tables and records."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.candidates.genes import gene_choices
from nas.records import State
from nas.report import summary
from nas.report.classes import Confusion, confusion
from nas.report.coverage import coverage, coverage_words
from nas.report.details import facts, machine_facts
from nas.report.facts import study_facts
from nas.report.figures import Figure, accuracy_text, figure, per_cent, seeds_text, share_text, significant
from nas.report.outlook import expected_per_hour, outlook_words
from nas.report.payload import MAX_DETAILED, payload
from nas.report.progress import Progress, progress
from nas.report.references import Reference, verdict
from nas.report.run import Row, Run, other_qualities, read_run, shown_figures
from nas.report.sensitivity import Panel, panels
from nas.report.ties import order_words, tie_words
from nas.report.zeros import idle_words_of, zeros_text
from nas.runtimes.runtime import runtime_of

if TYPE_CHECKING:
    from nas.report.importance import ObjectiveImportance

MAX_CONFUSED = 8  # members shown with what they take for what
SHOWN_GROUPS = 10  # groups of genes per objective in the importance chart
SCRIPTS = ("parallel.js", "gap.js", "sensitivity.js", "page.js")


def write_html(folder: Path, *, importance: Sequence[ObjectiveImportance] = ()) -> Path:
    """Write `folder`/report.html and return its path; works on a run that is still going on.

    `importance` per objective is shown where it is given; making it needs libraries this page does not import.
    """
    path = folder / "report.html"
    page = render(read_run(folder), importance)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8", errors="replace")  # a folder's name may be other bytes
    temporary.replace(path)
    return path


def render(run: Run, importance: Sequence[ObjectiveImportance] = ()) -> str:
    """The page as text."""
    loader = PackageLoader("nas.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    axes = shown_figures(run)
    curve = progress(run.trials, run.study.objectives, run.study.report.hypervolume_reference)
    front = [row["trial"] for row in run.front]
    scans = panels(run.folder)
    data = payload(run, axes, curve) | {"sensitivity": [_plotted(panel) for panel in scans]}
    return environment.get_template("template.html").render(
        run=run,
        title=run.study.report.title or run.study.name,
        folder=run.folder.resolve().name,
        when=summary.when(run.trials, run.evaluations),
        data=summary.data_words(run.study),
        states=summary.state_counts(run.trials),
        verdict=verdict(run.references, run.front, run.study.objectives),
        offer=summary.offer(
            run.front, run.study.objectives, complete=bool((run.trials["state"] == State.COMPLETE).any())
        ),
        tiles=summary.tiles(run.front, run.study.objectives),
        machine=machine_facts(run.evaluations),
        axes=axes,
        columns=[axis for axis in axes if axis.is_cost],
        qualities=other_qualities(run.study),
        rows=[front_row(run, row, axes) for row in run.front],
        references=[reference_row(run, reference, axes) for reference in run.references if reference.is_complete],
        study_facts=study_facts(run.folder, run.study, run.front, run.references),
        order=order_words(run.study.objectives),
        tie=tie_words(run.front, run.study.objectives),
        idle=idle_words_of(run.study),
        infeasible=int((run.trials["state"] == State.INFEASIBLE).sum()),
        curve=curve,
        objectives=", ".join(figure(name).label for name in run.study.objectives),
        reference_point=reference_point_words(curve),
        outlook=outlook_words(expected_per_hour(run.trials, run.study)),
        members=list(zip(run.front, run.artifacts, strict=True))[:MAX_DETAILED],
        facts=facts,
        figure=figure,
        problems=summary.problems(run.trials, run.finalists, run.repeats, [one.row for one in run.references]),
        methods=summary.methods(run.study, run.evaluations),
        importance=[(figure(found.objective), found) for found in importance],
        shown_groups=SHOWN_GROUPS,
        coverage=coverage(summary.unmended(run.trials), front, gene_choices(run.study)),
        coverage_words=coverage_words(run.trials, run.study),
        confusions=confusions(run),
        per_cent=per_cent,
        significant=significant,
        parallel=data["parallel"],
        gap=data["gap"],
        scans=scans,
        payload=safe_json(data),
        plotly=script(resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")),
        page_js=script('(() => {\n"use strict";\n' + "\n".join(map(_own, SCRIPTS)) + "})();"),
        page_css=Markup(_own("page.css")),
    )


def _plotted(panel: Panel) -> dict[str, Any]:
    return {"accuracy": panel.accuracy, "lines": panel.lines}


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


def confusions(run: Run) -> list[list[Confusion]]:
    """For the first members of the front, best first: what each takes for what, validation and, if read, test."""
    scores = [artifact.scores for artifact in run.artifacts[:MAX_CONFUSED]]
    if not any(score.get("confusion") for member in scores for score in member.values()):
        return [[] for _ in scores]
    runtime = runtime_of(run.study.target)
    models = (run.folder / row["artifact"] / runtime.file_name for row in run.front[:MAX_CONFUSED])
    names = next(filter(None, map(runtime.class_names, models)), ())
    return [
        [found for split, score in member.items() if (found := confusion(split, score, names))] for member in scores
    ]


def front_row(run: Run, row: Row, axes: Sequence[Figure]) -> dict[str, Any]:
    """One row of the front table: cells as (text, value to sort by)."""
    accuracies = [("accuracy", "accuracy_se"), ("test_accuracy", "test_accuracy_se")]
    cells = [(accuracy_text(row[key], row[se]), row[key]) for key, se in accuracies]
    cells.append((share_text(row["p_on_front"]), row["p_on_front"]))
    if run.repeated:
        cells.append((seeds_text(row), row["mean_accuracy"]))
    if run.has_zeros:
        cells.append((zeros_text(row), row.get("sparsity")))
    for quality in other_qualities(run.study):
        cells += [(quality.text(row.get(key)), row.get(key)) for key in (quality.key, f"test_{quality.key}")]
    cells += [(axis.text(row.get(axis.key)), row.get(axis.key)) for axis in axes if axis.is_cost]
    return {key: row[key] for key in ("trial", "id", "flags", "recipe")} | {
        "cells": cells,
        "link": link(run.folder, row, runtime_of(run.study.target).file_name),
    }


def reference_row(run: Run, reference: Reference, axes: Sequence[Figure]) -> dict[str, Any]:
    """A reference as a row of the same table; its name stands where candidates have their id."""
    row = {**reference.row, "trial": None, "p_on_front": None, "seeds": None, "mean_accuracy": None}
    return front_row(run, row, axes) | {"id": reference.name, "flags": reference.flags}


def link(folder: Path, row: Row, name: str) -> str | None:
    """Relative address of the member's file, None where it is missing or outside the run folder."""
    root, path = folder.resolve(), (folder / row["artifact"] / name).resolve()
    if not row["artifact"] or not path.is_relative_to(root) or not path.exists():
        return None
    return quote(path.relative_to(root).as_posix())


def reference_point_words(curve: Progress) -> str:
    return ", ".join(f"{figure(k).label} {figure(k).text(v, unit=True)}" for k, v in curve.reference_point.items())
