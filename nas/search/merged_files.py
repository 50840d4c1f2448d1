"""The files of a merged run: each evaluation's folder under its new name, and what the runs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.run_folder.linking import link_file, link_folder
from nas.run_folder.paths import TEACHER, RunFolder, read_evaluation, write_evaluation
from nas.search.merging import Merged, Moved, Run


def copy_files(runs: Sequence[Run], merged: Merged, folder: RunFolder) -> None:
    """Bring artifacts, teachers, an existing network and what was measured or copied before a search into `folder`."""
    for one in merged.moved:
        _copy_evaluation(one, folder.path / one.artifact)
    for run in runs:  # the first run's teacher teaches on
        for teacher in sorted(run.folder.path.glob(f"{TEACHER}*")):
            if teacher.is_dir() and not (folder.path / teacher.name).exists():
                link_folder(teacher, folder.path / teacher.name)
    first = runs[0].folder
    for file in (first.calibration, first.earlier, first.network, first.network_weights):
        if file.exists():
            link_file(file, folder.path / file.name)


def measured_with(run: Run) -> Mapping[str, Mapping[str, Any]]:
    """By what latency was measured, by target: the fingerprint and the protocol. A run never has two."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in run.evaluated:
        if set(found) >= {target.name for target in run.study.targets}:
            break
        evaluation = read_evaluation(run.folder.path / one.row.artifact)
        measured = evaluation.measurement.latency if evaluation is not None and evaluation.measurement else {}
        for name, latency in measured.items():
            found[name] = {**latency.fingerprint.model_dump(mode="json"), "protocol": latency.protocol}
    return found


def _copy_evaluation(one: Moved, target: Path) -> None:
    """Its folder, and those of its rungs; what has become a repeat says so in its record, and has none."""
    if not one.source.is_dir():
        return
    link_folder(one.source, target)
    evaluation = read_evaluation(one.source)
    if evaluation is not None and evaluation.phase != one.phase:
        (target / "evaluation.json").unlink()
        write_evaluation(target, evaluation.model_copy(update={"phase": one.phase}))
        return
    for rung in one.source.parent.glob(f"{one.source.name}-r*"):
        link_folder(rung, target.with_name(rung.name))
