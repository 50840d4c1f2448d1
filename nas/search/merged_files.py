"""The files of a merged run: each evaluation's folder under its new name, and what the runs share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.run_folder.attempts import NOTE
from nas.run_folder.paths import LOCK, TEACHER, RunFolder, read_evaluation, write_evaluation
from nas.search.merging import Merged, Moved, Run
from nas.tasks import CHECKPOINT_FILE

LEFT = (CHECKPOINT_FILE, NOTE, LOCK)  # of what is not finished


def copy_files(runs: Sequence[Run], merged: Merged, folder: RunFolder) -> None:
    """Bring artifacts, teachers, an existing network and what was measured or copied before the search into `folder`.

    As hard links where that is possible: no file of a run is ever changed in place.
    """
    for one in merged.moved:
        _copy_evaluation(one, folder.path / one.artifact)
    for run in runs:  # the first run's teacher teaches on
        for teacher in sorted(run.folder.path.glob(f"{TEACHER}*")):
            if teacher.is_dir() and not (folder.path / teacher.name).exists():
                _copy_folder(teacher, folder.path / teacher.name)
    first = runs[0].folder
    for file in (first.calibration, first.earlier, first.network, first.network_weights):
        if file.exists():
            _copy_file(file, folder.path / file.name)


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
    _copy_folder(one.source, target)
    evaluation = read_evaluation(one.source)
    if evaluation is not None and evaluation.phase != one.phase:
        (target / "evaluation.json").unlink()
        write_evaluation(target, evaluation.model_copy(update={"phase": one.phase}))
        return
    for rung in one.source.parent.glob(f"{one.source.name}-r*"):
        _copy_folder(rung, target.with_name(rung.name))


def _copy_folder(source: Path, target: Path) -> None:
    for file in _files(source):
        _copy_file(file, target / file.relative_to(source))


def _files(folder: Path) -> Iterator[Path]:
    """Finished files: no links, nothing hidden, no checkpoints."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not file.is_symlink() and not hidden and file.name not in LEFT:
            yield file


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:  # a rung's folder, of an evaluation that stands once
        return
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
