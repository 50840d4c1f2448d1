"""`nas export`: one network's file with all that tells what it is."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.report.card import model_card
from nas.report.classes import class_names
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.runtimes.runtime import file_names
from nas.study.file import load_study

DIGITS_OF_AN_ID = 4  # fewer, and nothing else, are a trial's number even where there is no such trial
RECORDS = ("candidate.json", "evaluation.json")


def export_trial(path: Path, trial: str, to: Path) -> list[Path]:
    """Copy a trial's files and write its model card; a finalist's files come before the search's."""
    folder = RunFolder(path)
    artifact = path / _artifact(folder, trial)
    evaluation = read_evaluation(artifact)
    if evaluation is None:
        raise InputError(f"{artifact}: holds no finished network (state unknown)")
    study = load_study(folder.study)
    models = list(dict.fromkeys(file_names(study.targets).values()))
    if evaluation.state == "COMPLETE" and not (artifact / models[0]).exists():
        raise InputError(
            f"{artifact}: its {models[0]} is gone: with artifacts.keep: front, trials off the search's front keep only "
            "their records. Trials on the front and finalists can be exported."
        )
    if not (artifact / models[0]).exists():
        raise InputError(f"{artifact}: holds no finished network (state {evaluation.state})")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"--to: {to} exists and is not an empty folder")
    names = [*(name for name in models if (artifact / name).exists()), *RECORDS]
    to.mkdir(parents=True, exist_ok=True)
    written = [Path(shutil.copy2(artifact / name, to / name)) for name in names]
    candidate = Candidate.from_json(json.loads((artifact / "candidate.json").read_text(encoding="utf-8")))
    card = to / "README.md"
    text = model_card(study, candidate, evaluation, class_names(artifact / models[0]))
    card.write_text(text, encoding="utf-8")
    return [*written, card]


def _artifact(folder: RunFolder, trial: str) -> str:
    """The artifact folder of a trial number, or else of an id prefix; a finalist's stands for its search trial's."""
    rows = [(row["number"], row) for row in _rows(folder.trials)]
    rows += [(row["trial"], row) for row in _rows(folder.finalists)]
    complete = {number: row for number, row in rows if row["state"] == "COMPLETE"}
    found = {number: row for number, row in complete.items() if number == trial}
    if not found and not (trial.isdigit() and len(trial) < DIGITS_OF_AN_ID):
        found = {number: row for number, row in complete.items() if row["id"].startswith(trial)}
    if not found:
        raise InputError(f"TRIAL: expected a complete trial's number or the beginning of its id, got {trial!r}")
    if len(found) > 1:  # one id may be there more than once, trained with other numbers
        fitting = ", ".join(f"{number} ({row['id']})" for number, row in found.items())
        raise InputError(f"TRIAL: {trial!r} fits {len(found)} networks, trials {fitting}")
    return next(iter(found.values()))["artifact"]


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
