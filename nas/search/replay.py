"""The journal's records, read without writing: what each study and trial has come to, one record after another.

Optuna's own reader keeps every trial for ever and, to open a study, writes. Here a reader forgets what it no longer
needs, so that following a journal of any length takes little memory. The records are those of `JournalStorage`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

CHUNK_BYTES = 1 << 20
Record = Mapping[str, Any]


class Op(IntEnum):
    """What a record says, by its `op_code`."""

    CREATE_STUDY = 0
    DELETE_STUDY = 1
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_PARAM = 5
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_INTERMEDIATE_VALUE = 7
    SET_TRIAL_USER_ATTR = 8
    SET_TRIAL_SYSTEM_ATTR = 9


TRIAL_CHANGES = range(Op.SET_TRIAL_PARAM, Op.SET_TRIAL_SYSTEM_ATTR + 1)


@dataclass
class ReplayedStudy:
    """A study of the journal; `trials` says how many it has had."""

    name: str
    directions: list[StudyDirection]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    trials: int = 0


@dataclass
class Replay:
    """Studies and trials by their numbers in the journal; `changed` are those that records spoke of since `take`."""

    studies: dict[int, ReplayedStudy] = field(default_factory=dict)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    study_of: dict[int, int] = field(default_factory=dict)
    changed_studies: set[int] = field(default_factory=set)
    changed_trials: set[int] = field(default_factory=set)
    _studies_made: int = 0
    _trials_made: int = 0

    def apply(self, record: Record) -> None:
        """Take in one record. One that Optuna would not obey is passed over: a finished trial never changes."""
        match record["op_code"]:
            case Op.CREATE_STUDY:
                self._create_study(record)
            case Op.DELETE_STUDY:
                self._delete_study(record["study_id"])
            case Op.SET_STUDY_USER_ATTR | Op.SET_STUDY_SYSTEM_ATTR:
                self._set_study_attr(record)
            case Op.CREATE_TRIAL:
                self._create_trial(record)
            case code if code in TRIAL_CHANGES:
                self._change_trial(record)

    def forget(self, trial_id: int) -> None:
        """Drop a trial that is of no use any more; records of it are passed over from now on."""
        self.trials.pop(trial_id, None)
        self.study_of.pop(trial_id, None)
        self.changed_trials.discard(trial_id)

    def named(self, name: str) -> list[FrozenTrial]:
        """The trials of a study that were not forgotten, in order of number."""
        ids = [number for number, study in self.studies.items() if study.name == name]
        return [trial for trial_id, trial in self.trials.items() if self.study_of[trial_id] in ids]

    def _create_study(self, record: Record) -> None:
        """Whoever opens a study writes that it is created: the first one counts."""
        if record["study_name"] in (study.name for study in self.studies.values()):
            return
        directions = [StudyDirection(direction) for direction in record["directions"]]
        self.studies[self._studies_made] = ReplayedStudy(record["study_name"], directions)
        self.changed_studies.add(self._studies_made)
        self._studies_made += 1

    def _delete_study(self, study_id: int) -> None:
        self.studies.pop(study_id, None)
        self.changed_studies.discard(study_id)
        for trial_id in [trial_id for trial_id, study in self.study_of.items() if study == study_id]:
            self.forget(trial_id)

    def _set_study_attr(self, record: Record) -> None:
        if (study := self.studies.get(record["study_id"])) is not None:
            study.user_attrs.update(record.get("user_attr", {}))
            study.system_attrs.update(record.get("system_attr", {}))
            self.changed_studies.add(record["study_id"])

    def _create_trial(self, record: Record) -> None:
        study = self.studies.get(record["study_id"])
        if study is None:
            return
        trial_id = self._trials_made
        self.trials[trial_id] = _trial_of(record, number=study.trials, trial_id=trial_id)
        self.study_of[trial_id] = record["study_id"]
        self.changed_trials.add(trial_id)
        study.trials += 1
        self._trials_made += 1

    def _change_trial(self, record: Record) -> None:
        trial = self.trials.get(record["trial_id"])
        if trial is None or trial.state.is_finished():
            return
        match record["op_code"]:
            case Op.SET_TRIAL_PARAM:
                name, distribution = record["param_name"], json_to_distribution(record["distribution"])
                trial.params = {
                    **trial.params, name: distribution.to_external_repr(record["param_value_internal"])
                }  # fmt: skip
                trial.distributions = {**trial.distributions, name: distribution}
            case Op.SET_TRIAL_STATE_VALUES:
                _set_state(trial, record)
            case Op.SET_TRIAL_INTERMEDIATE_VALUE:
                step, value = int(record["step"]), record["intermediate_value"]
                trial.intermediate_values = {**trial.intermediate_values, step: value}
            case Op.SET_TRIAL_USER_ATTR:
                trial.user_attrs = {**trial.user_attrs, **record["user_attr"]}
            case Op.SET_TRIAL_SYSTEM_ATTR:
                trial.system_attrs = {**trial.system_attrs, **record["system_attr"]}
        self.changed_trials.add(record["trial_id"])


def _trial_of(record: Record, *, number: int, trial_id: int) -> FrozenTrial:
    """The trial that a record creates: all of it where it was added, else a running one without anything."""
    distributions = {name: json_to_distribution(text) for name, text in record.get("distributions", {}).items()}
    return FrozenTrial(
        number=number,
        trial_id=trial_id,
        state=TrialState(record.get("state", TrialState.RUNNING)),
        value=record.get("value"),
        values=record.get("values"),
        datetime_start=_local_time(record.get("datetime_start")),
        datetime_complete=_local_time(record.get("datetime_complete")),
        params={name: distributions[name].to_external_repr(v) for name, v in record.get("params", {}).items()},
        distributions=distributions,
        user_attrs=dict(record.get("user_attrs", {})),
        system_attrs=dict(record.get("system_attrs", {})),
        intermediate_values={int(step): value for step, value in record.get("intermediate_values", {}).items()},
    )


def _set_state(trial: FrozenTrial, record: Record) -> None:
    trial.state = TrialState(record["state"])
    trial.datetime_start = _local_time(record.get("datetime_start")) or trial.datetime_start
    trial.datetime_complete = _local_time(record.get("datetime_complete")) or trial.datetime_complete
    if record["values"] is not None:
        trial.values = record["values"]


def _local_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone().replace(tzinfo=None)


@dataclass
class JournalReader:
    """Whole records behind the last that was read; what a writer has begun is left for the next time."""

    file: Path
    offset: int = 0

    def records(self) -> Iterator[list[Record]]:
        """All that is there now, a piece of about CHUNK_BYTES at a time."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            while lines := file.readlines(CHUNK_BYTES):
                whole = [line for line in lines if line.endswith(b"\n")]
                self.offset += sum(map(len, whole))
                yield [json.loads(line) for line in whole if line.strip()]
                if len(whole) < len(lines):
                    return
