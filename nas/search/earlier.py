"""What earlier runs found: complete candidates and their accuracies, of other targets, data or epochs.

They are read once, when a run begins, and copied into its folder: a restart believes the same, whatever has become of
the earlier folders since.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.candidates.candidate import Candidate
from nas.data.paths import expanded
from nas.errors import InputError
from nas.files import write_atomically
from nas.objectives import may_stand
from nas.records import QUALITIES
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.search import is_scan
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.known import remember_blueprint, remember_candidates_of

SCHEMA = 1


@dataclass(frozen=True)
class EarlierTrial:
    """One candidate and its qualities by name, fractions."""

    candidate_json: Mapping[str, Any]
    qualities: Mapping[str, float]

    @cached_property
    def candidate(self) -> Candidate:
        return Candidate.from_json(self.candidate_json)


@dataclass(frozen=True)
class EarlierRun:
    """The complete trials of one run: of the same data and the same epochs, so that they compare.

    `blueprint` is that of the existing network that the run is about, if it is about one.
    """

    folder: str
    trials: tuple[EarlierTrial, ...]
    blueprint: Mapping[str, Any] | None = None


def earlier_runs(study: Study, folder: RunFolder) -> list[EarlierRun]:
    """The runs that `search.warm_start` names: as they were copied, or read now and copied.

    Raises InputError where one is no run folder, is this run's own, or holds no complete trial.
    """
    names = _folders(study)
    if not names:
        return []
    if folder.earlier.exists():
        return _copied(folder.earlier)
    for i, name in names.items():
        if expanded(name, _key(i)).resolve() == folder.path.resolve():
            raise InputError(f"{_key(i)}: expected an earlier run's folder, got {name!r}, this run's own")
    runs = [_read(name, _key(i)) for i, name in names.items()]
    write_atomically(folder.earlier, json.dumps({"schema": SCHEMA, "runs": [_to_json(run) for run in runs]}))
    return runs


def unusable(study: Study) -> Iterator[str]:
    """Why `nas run` will refuse folders that `search.warm_start` names, each in a line that begins with its key."""
    for i, name in _folders(study).items():
        try:
            _read(name, _key(i))
        except InputError as error:
            yield str(error)


def _folders(study: Study) -> dict[int, str]:
    """The entries of `search.warm_start` that name run folders, by their places."""
    return {i: name for i, name in enumerate(study.search.warm_start) if not is_scan(name)}


def _key(number: int) -> str:
    return f"search.warm_start[{number}]"


def _to_json(run: EarlierRun) -> dict[str, Any]:
    trials = [{"candidate": trial.candidate_json, "qualities": trial.qualities} for trial in run.trials]
    network = {} if run.blueprint is None else {"blueprint": dict(run.blueprint)}
    return {"folder": run.folder, "trials": trials, **network}


def _copied(file: Path) -> list[EarlierRun]:
    try:
        content = json.loads(file.read_bytes())
        if content["schema"] != SCHEMA:
            raise InputError(f"{file}: expected schema {SCHEMA}, got {content['schema']!r}")
        return [
            EarlierRun(
                run["folder"],
                tuple(EarlierTrial(t["candidate"], t["qualities"]) for t in run["trials"]),
                _known(run.get("blueprint")),
            )
            for run in content["runs"]
        ]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file}: expected what was copied of earlier runs, got something else") from None


def _known(blueprint: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The blueprint of an earlier run's network, by whose digest its candidates name it."""
    if blueprint is not None:
        remember_blueprint(Blueprint.from_json(blueprint))
    return blueprint


def _read(name: str, key: str) -> EarlierRun:
    found = RunFolder(expanded(name, key))
    if not found.study.is_file() or not found.trials.is_file():
        raise InputError(f"{key}: expected a run folder, with study.yaml and trials.csv in it, got {name!r}")
    try:
        network = remember_candidates_of(found.path)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None
    trials = tuple(_trials(found))
    if not trials:
        raise InputError(f"{key}: expected a run with complete trials, got {name!r}, which holds none")
    return EarlierRun(name, trials, None if network is None else network.blueprint.to_json())


def _trials(folder: RunFolder) -> Iterator[EarlierTrial]:
    """Complete trials that may stand on a front, each with what can be read of its qualities."""
    try:
        with folder.trials.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if may_stand(row["state"], (row.get("flags") or "").split()):
                yield EarlierTrial(_candidate(folder.path / row["artifact"]), _qualities(row))
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{folder.trials}: expected a table of trials, got something else ({error})") from None


def _candidate(artifact: Path) -> dict[str, Any]:
    file = artifact / "candidate.json"
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        Candidate.from_json(found)
    except FileNotFoundError:
        raise InputError(f"{file}: is gone, and with it what the trial's accuracy is of") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{file}: expected the record of a candidate, got none") from None
    return found


def _qualities(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(row[name]) for name in QUALITIES if row.get(name)}


def trials_of(runs: Sequence[EarlierRun], quality: str) -> Iterator[tuple[int, EarlierTrial, float]]:
    """Every trial with a value of this quality: the number of its run, the trial, the value."""
    for number, run in enumerate(runs):
        for trial in run.trials:
            if quality in trial.qualities:
                yield number, trial, trial.qualities[quality]
