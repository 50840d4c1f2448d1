"""`nas export`: copies one network's files, with a model card that describes it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from nas.candidates.candidate import Candidate
from nas.commands.decode import coded_name
from nas.data.decoding import Form
from nas.errors import InputError
from nas.files import sha256_of, write_atomically
from nas.records import Evaluation
from nas.report.card import model_card
from nas.run_folder.network import network_text
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.runtimes.runtime import Usage, file_names, runtime_of
from nas.study import Study
from nas.study.file import load_recorded
from search_spaces.existing.known import NETWORK_FILE

DIGITS_OF_AN_ID = 4  # fewer, and nothing else, are a trial's number even where there is no such trial
Row = dict[str, str]
RECORDS = ("candidate.json", "evaluation.json")


def export_trial(path: Path, trial: str, to: Path, *, coded: bool = False) -> list[Path]:
    """Copy a trial's files and write its model card; a finalist's files come before the search's.

    With `coded` every model file is there a second time, entropy-coded.

    Raises InputError where there is no such trial or no file, and where a file is not the one that was measured.
    """
    folder = RunFolder(path)
    artifact = path / artifact_of(folder, trial)
    finished_in(artifact)
    study = load_recorded(folder.study)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"--to: {to} exists and is not an empty folder")
    contents = contents_of(artifact, study, coded=coded)
    written = {to / name: content for name, content in contents.items()}
    for file, content in written.items():
        write_atomically(file, content)
    return list(written)


def contents_of(artifact: Path, study: Study, *, coded: bool = False) -> dict[str, bytes]:
    """The files to be shipped of an artifact folder, by name: models, records (of an existing network its own as well),
    the model card and the class names.

    Raises as `export_trial` does.
    """
    evaluation = finished_in(artifact)
    models = _measured_files(artifact, evaluation, study)
    contents = {name: (artifact / name).read_bytes() for name in (*models, *RECORDS)}
    candidate = _candidate(artifact / "candidate.json", contents["candidate.json"], evaluation)
    if (network := network_text(candidate)) is not None:
        contents[NETWORK_FILE] = network.encode()
    runtime, usage = runtime_of(study.target), usage_of(artifact, study, candidate)
    names = runtime.class_names(artifact / models[0])
    contents["README.md"] = model_card(study, candidate, evaluation, names, usage=usage).encode()
    if coded:
        contents |= {coded_name(name): runtime.coded(artifact / name) for name in models}
    contents["classes.json"] = json.dumps(names, ensure_ascii=False, indent=1).encode()  # where no metadata is read
    return contents


def finished_in(artifact: Path) -> Evaluation:
    """The evaluation that an artifact folder holds. Raises InputError where it holds none."""
    if (evaluation := read_evaluation(artifact)) is None:
        raise InputError(f"{artifact}: holds no finished network (state unknown)")
    return evaluation


def usage_of(artifact: Path, study: Study, candidate: Candidate) -> Usage:
    """How the model of an artifact folder is used elsewhere."""
    architecture, runtime = candidate.architecture, runtime_of(study.target)
    model = artifact / next(iter(file_names(study.targets).values()))
    return runtime.usage(model, Form(architecture.input_channels, architecture.input_size, study.data.resize))


def _candidate(file: Path, content: bytes, evaluation: Evaluation) -> Candidate:
    """The network that was evaluated. Raises InputError where the file does not tell it."""
    try:
        candidate = Candidate.from_json(json.loads(content))
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{file}: expected the record of a candidate, got none") from None
    if candidate.id != evaluation.candidate_id:
        raise InputError(
            f"{file}: expected candidate {evaluation.candidate_id}, which was evaluated, got {candidate.id}"
        )
    return candidate


def _measured_files(artifact: Path, evaluation: Evaluation, study: Study) -> list[str]:
    """Names of a network's model files, the first target's first. Raises InputError where they are not as measured."""
    first, *others = dict.fromkeys(file_names(study.targets).values())
    if not (artifact / first).exists():
        if evaluation.state != "COMPLETE":
            raise InputError(f"{artifact}: holds no finished network (state {evaluation.state})")
        raise InputError(
            f"{artifact}: its {first} is gone: with artifacts.keep: front, trials off the search's front keep only "
            "their records. Trials on the front and finalists can be exported."
        )
    names = [first, *(name for name in others if (artifact / name).exists() or name in evaluation.model_sha256)]
    for name in names:
        _refuse_other_bytes(artifact / name, evaluation, study)
    return names


def _refuse_other_bytes(model: Path, evaluation: Evaluation, study: Study) -> None:
    """Raises InputError where a file is not the one that was measured; older records tell by its size alone."""
    if not model.exists():
        raise InputError(f"{model}: is gone, though it was measured")
    if recorded := evaluation.model_sha256:
        expected, got = f"sha256 {recorded.get(model.name, 'none')}", f"sha256 {sha256_of(model)}"
    elif (size := _recorded_bytes(model.name, evaluation, study)) is not None:
        expected, got = f"{size} bytes", f"{model.stat().st_size} bytes"
    else:
        return
    if expected != got:
        raise InputError(
            f"{model}: is not the file that was measured: expected {expected}, got {got}. Its figures hold for other "
            "bytes, so it is not exported."
        )


def _recorded_bytes(name: str, evaluation: Evaluation, study: Study) -> int | None:
    """The size at which a model file was measured, None where it is not recorded."""
    if evaluation.measurement is None:
        return None
    names = file_names(study.targets)
    if names[study.target.name] == name:
        return evaluation.measurement.size_bytes
    sizes = evaluation.measurement.other_size_bytes
    return next((sizes[target] for target, own in names.items() if own == name and target in sizes), None)


def artifact_of(folder: RunFolder, trial: str) -> str:
    """The artifact folder of a trial number, or else of an id prefix; a finalist's stands for its search trial's.

    A reference goes by its name, `baseline-int8`. Of finalists with several recipes the most accurate on validation
    images, the last among equals; any other by the name of its own artifact folder.
    """
    finals = sorted(_rows(folder.finalists), key=lambda row: float(row.get("accuracy") or 0))
    rows = [(row["number"], row) for row in _rows(folder.trials)] + [(row["trial"], row) for row in finals]
    rows += [(row["reference"].replace(" ", "-"), row) for row in _rows(folder.references)]
    complete = {number: row for number, row in rows if row["state"] == "COMPLETE"}
    if named := next((row for _, row in rows if row["artifact"] == trial and row["state"] == "COMPLETE"), None):
        return named["artifact"]
    found = _named(complete, trial)
    if not found:
        wanted = f"TRIAL: expected a complete trial's number or the beginning of its id, got {trial!r}"
        raise InputError("; ".join([wanted, *_why_incomplete(_named(dict(rows), trial))]))
    if len(found) > 1:  # one id may be there more than once, trained with other numbers
        fitting = ", ".join(f"{number} ({row['id']})" for number, row in found.items())
        raise InputError(f"TRIAL: {trial!r} fits {len(found)} networks, trials {fitting}")
    return next(iter(found.values()))["artifact"]


def _named(rows: Mapping[str, Row], trial: str) -> dict[str, Row]:
    """The rows, by number, that a number names, or else the beginning of an id."""
    found = {number: row for number, row in rows.items() if number == trial}
    if not found and not (trial.isdigit() and len(trial) < DIGITS_OF_AN_ID):
        found = {number: row for number, row in rows.items() if row["id"].startswith(trial)}
    return found


def _why_incomplete(rows: Mapping[str, Row]) -> list[str]:
    """How each of these trials ended: with no network of its own, or with one that breaks a constraint."""
    return [
        f"trial {number} is {row['state']}: {row.get('reason') or 'no reason given'}" for number, row in rows.items()
    ]


def _rows(table: Path) -> list[Row]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
