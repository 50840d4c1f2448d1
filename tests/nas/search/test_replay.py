"""The journal read without writing: Optuna's own reader is the oracle, whatever the records are."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from nas.search import replay
from nas.search.journal import Direction, Journal
from nas.search.replay import JournalReader, Op, Replay

NAMES = ["t", "t/final"]


def storage_of(file: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(file), lock_obj=JournalFileOpenLock(str(file))))


def replayed(file: Path) -> Replay:
    result = Replay()
    for records in JournalReader(file).records():
        for record in records:
            result.apply(record)
    return result


def parts(trial: FrozenTrial) -> dict[str, Any]:
    return {key: value for key, value in vars(trial).items() if key != "_study_id"}


def act(study: optuna.Study, open_trials: list[optuna.Trial], how: random.Random) -> None:
    """One thing that a program may do to a study."""
    match how.randrange(6):
        case 0:
            study.set_user_attr(how.choice("ab"), how.randrange(9))
        case 1:
            study.add_trial(
                optuna.trial.create_trial(
                    state=how.choice((TrialState.RUNNING, TrialState.COMPLETE)),
                    values=[1.0, how.random()],
                    params={"x": 3, "k": "b"},
                    distributions={
                        "x": optuna.distributions.IntDistribution(1, 9),
                        "k": optuna.distributions.CategoricalDistribution(("a", "b")),
                    },
                    user_attrs={"row": {"number": how.randrange(9)}},
                    intermediate_values={2: 0.5},
                )
            )
        case 2 | 3:
            open_trials.append(study.ask())
            open_trials[-1].suggest_float("lr", 1e-3, 1.0, log=True)
            open_trials[-1].suggest_categorical("k", ("a", "b"))
        case 4 if open_trials:
            open_trials[-1].set_user_attr(how.choice("ab"), how.random())
            study._storage.set_trial_intermediate_value(open_trials[-1]._trial_id, how.randrange(3), how.random())
        case 5 if open_trials:
            trial = open_trials.pop(how.randrange(len(open_trials)))
            trial.set_constraint("size", how.random())
            state = how.choice((TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED))
            study.tell(trial, [how.random(), 2.0] if state is TrialState.COMPLETE else None, state)


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 25))
@settings(max_examples=25)
def test_it_reads_what_optuna_reads(tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int) -> None:
    file, how = tmp_path_factory.mktemp("j") / "study.log", random.Random(seed)
    with patch("os.fsync"):
        written(file, steps, how)
    own, theirs = replayed(file), storage_of(file)
    assert [study.name for study in own.studies.values()] == NAMES
    for name in NAMES:
        study_id = theirs.get_study_id_from_name(name)
        expected = theirs.get_all_trials(study_id)
        assert list(map(parts, own.named(name))) == list(map(parts, expected))
        (mine,) = [study for study in own.studies.values() if study.name == name]
        assert mine.user_attrs == theirs.get_study_user_attrs(study_id)
        assert mine.directions == theirs.get_study_directions(study_id)
        assert mine.trials == len(expected)


def written(file: Path, steps: int, how: random.Random) -> None:
    storage = storage_of(file)
    studies = [optuna.create_study(storage=storage, study_name=n, directions=["maximize", "minimize"]) for n in NAMES]
    opened: list[list[optuna.Trial]] = [[], []]
    for _ in range(steps):
        which = how.randrange(2)
        act(studies[which], opened[which], how)
        if how.random() < 0.2:
            optuna.load_study(storage=storage_of(file), study_name="t").set_user_attr("c", how.randrange(5))


def test_the_codes_are_optunas() -> None:
    from optuna.storages.journal._storage import JournalOperation

    theirs = {code.name: code.value for code in JournalOperation}
    assert {op.name: op.value for op in Op}.items() <= theirs.items()


def test_a_deleted_study_takes_its_trials_along_and_leaves_others_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    storage = storage_of(file)
    for name in ("a", "b"):
        study = optuna.create_study(storage=storage, study_name=name)
        study.add_trial(optuna.trial.create_trial(value=1.0))
    optuna.delete_study(study_name="a", storage=storage)
    optuna.load_study(study_name="b", storage=storage).add_trial(optuna.trial.create_trial(value=2.0))
    found = replayed(file)
    assert [study.name for study in found.studies.values()] == ["b"]
    assert [trial.value for trial in found.named("b")] == [1.0, 2.0]
    assert found.named("a") == []


def test_what_is_forgotten_takes_no_room_and_later_records_of_it_none_either(tmp_path: Path) -> None:
    directions: list[Direction] = ["maximize"]
    journal = Journal(tmp_path / "study.log", "t", directions)
    first, second = journal.enqueue({"a": 1}), journal.enqueue({"a": 2})
    found = replayed(tmp_path / "study.log")
    found.forget(first)
    found.apply({"op_code": 8, "trial_id": first, "user_attr": {"a": 3}})
    found.apply({"op_code": 8, "trial_id": second, "user_attr": {"a": 3}})
    assert [(trial.number, trial.user_attrs) for trial in found.trials.values()] == [(1, {"a": 3})]
    assert found.changed_trials == {second}
    found.apply({"op_code": 4, "study_id": 0, "datetime_start": None})
    assert [trial.number for trial in found.named("t")] == [1, 2], "a forgotten one still counts"


def test_a_record_that_is_being_written_is_left_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CHUNK_BYTES", 40)
    file = tmp_path / "study.log"
    lines = [json.dumps({"op_code": 99, "n": n}) for n in range(9)]
    reader = JournalReader(file)

    def numbers() -> list[int]:
        return [record["n"] for records in reader.records() for record in records]

    file.write_text("\n".join(lines[:4])[:-3])
    assert numbers() == [0, 1, 2]
    assert numbers() == []
    file.write_text("\n".join(lines[:5]) + "\n\n")
    assert numbers() == [3, 4]
    file.write_text("\n".join([*lines[:5], "", *lines[5:], ""]))
    assert numbers() == [5, 6, 7, 8]
