"""Records of a trial: read from journals of earlier versions, and written so that the same readers read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from by_hand import different, evaluated, evaluated_row, make_study, measured
from hypothesis import given
from hypothesis import strategies as st

from nas.records import LayerReport, Score, State
from nas.run_folder.columns import trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import STRUCTURE, TrialNotes, TrialRow, identity_of, row_in, row_of, structure_of, words_of
from nas.tasks import Task

# One trial of each state, a retry and a finalist, as version 0.1 wrote them into study.log.
EARLIER = json.loads((Path(__file__).parent / "earlier_rows.json").read_text(encoding="utf-8"))


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", EARLIER["rows"])
def test_rows_of_earlier_journals_are_read_and_written_the_same(name: str) -> None:
    recorded = EARLIER["rows"][name]
    row = TrialRow.from_json(recorded)
    assert through_json(row.to_json()) == recorded
    for field in ("number", "reason", "id", "accuracy", "seconds", "artifact", "retry_of"):
        assert getattr(row, field) == recorded[field]
    assert row.state is State(recorded["state"])
    assert row.costs.get("parameters") == recorded.get("parameters")
    assert row.structure.get("mean_bits") == recorded.get("mean_bits")
    assert {f"params_{gene}": choice for gene, choice in row.params.items()} == {
        key: choice for key, choice in recorded.items() if key.startswith("params_")
    }


@pytest.mark.parametrize("name", EARLIER["notes"])
def test_notes_of_earlier_journals_are_read_and_written_the_same(name: str) -> None:
    recorded = EARLIER["notes"][name]
    notes = TrialNotes.from_json({**recorded, "row": {"state": "COMPLETE"}})  # beside what others noted
    assert through_json(notes.to_json()) == recorded
    assert notes.candidate.id == notes.id == recorded["id"]
    assert notes.identity == identity_of(recorded["id"], recorded.get("training", {}))


def test_what_the_first_versions_did_not_record_has_its_default() -> None:
    row = TrialRow.from_json({"number": 3, "state": "FAILED", "id": "a", "reason": "killed", "macs": 5.0})
    assert (row.flags, row.retry_of, row.log_loss, row.structure, row.params) == ((), None, None, {}, {})
    assert row.costs == {"macs": 5.0}
    notes = TrialNotes.from_json({"candidate": {}, "id": "a", "seed": 0, "epochs": 2})
    assert (notes.attempts, notes.deaths, dict(notes.training)) == (1, 0, {})


optional = st.none() | st.floats(0, 1)


@given(
    st.builds(
        TrialRow,
        number=st.integers(0, 99),
        state=st.sampled_from(State),
        id=st.text(),
        accuracy=optional,
        seconds=optional,
        violation=st.dictionaries(st.sampled_from(("macs", "size_bytes")), st.floats(0, 9)),
        flags=st.lists(st.sampled_from(("parity", "unstable"))).map(tuple),
        retry_of=st.none() | st.integers(0, 9),
        costs=st.dictionaries(st.sampled_from(("macs", "latency_ms", "latency_ms@ov")), st.floats(0, 9)),
        structure=st.dictionaries(st.sampled_from(STRUCTURE), st.floats(0, 9)),
        params=st.dictionaries(st.text(), st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()),
        trial=st.none() | st.integers(0, 9),
    )
)
def test_rows_survive_the_journal(row: TrialRow) -> None:
    assert TrialRow.from_json(through_json(row.to_json())) == row
    assert row_in({"row": through_json(row.to_json()), "seed": 1}) == row


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {"ema": 0.5}},
        {"duplicate_of": 0},
        {"retry_of": 0, "attempts": 0},
        {"search_trial": 0, "deaths": 2},
    ],
)
def test_notes_survive_the_journal(changes: dict[str, Any]) -> None:
    (candidate,) = different(1)
    asked = TrialNotes.of(candidate, seed=3, epochs=2, training={})
    notes = replace(asked, **changes)
    assert TrialNotes.from_json(through_json(notes.to_json())) == notes
    assert set(notes.to_json()) - set(asked.to_json()) == set(changes) - {"attempts", "deaths"}
    assert notes.candidate == candidate


def test_a_trial_without_a_row_is_not_finished() -> None:
    assert row_in({"seed": 1}) is None


def test_the_row_of_an_evaluation(folder: RunFolder) -> None:
    study, scored = make_study(), Score(accuracy=0.9, se=0.01, images=100, balanced_accuracy=0.8, log_loss=0.3)
    other = measured(different(1)[0]).latency["cpu"].model_copy(update={"latency_ms": 7.0})
    task = Task(3, different(1)[0], "final", 1, 8, folder.path)
    evaluation = evaluated(task, study, validation=scored, test=scored, flags=("unstable",))
    assert evaluation.measurement is not None
    both = {**evaluation.measurement.latency, "board": other}
    measurement = evaluation.measurement.model_copy(update={"latency": both})
    evaluation = evaluation.model_copy(update={"measurement": measurement})
    row = row_of(evaluation, number=3, artifact="artifacts/x", params={"head.width": 16})
    assert (row.accuracy, row.test_accuracy, row.balanced_accuracy, row.macro_f1) == (0.9, 0.9, 0.8, None)
    assert (row.log_loss, row.seconds, row.flags, row.artifact) == (0.3, 0.75, ("unstable",), "artifacts/x")
    assert row.costs == {**measurement.costs("cpu"), "latency_ms@board": 7.0}
    assert row.value("size_bytes") == measurement.size_bytes
    assert (row.shown, replace(row, trial=11).shown) == (3, 11)


def test_nothing_that_was_not_measured_has_a_value(folder: RunFolder) -> None:
    row = evaluated_row(make_study(), folder, state=State.FAILED, measurement=None, validation=None, seconds={})
    assert (row.accuracy, row.seconds, row.costs, row.structure) == (None, None, {}, {})
    with pytest.raises(ValueError, match=r"trial 3: expected a value of macs, got none \(FAILED\)"):
        row.value("macs")


def test_structure_is_summed_up_by_hand(folder: RunFolder) -> None:
    def layer(name: str, kind: str, out: int, parameters: int, weight_format: str, unpruned: int | None) -> LayerReport:
        block = name.rpartition(".")[0] or name
        fields = {"in_channels": 1, "kernel": 1, "macs": 0, "ran": "float", "unpruned_channels": unpruned}
        return LayerReport.model_validate(
            {"name": name, "block": block, "kind": kind, "out_channels": out, "parameters": parameters}
            | {"format": weight_format, **fields}
        )

    layers = (
        layer("stem.conv", "conv", 8, 8 + 72, "int8", None),
        layer("stage1.block1.expand", "pointwise", 12, 12 + 100, "int4", 24),
        layer("stage1.block1.project", "pointwise", 10, 10 + 100, "fp32", 10),
        layer("classifier", "linear", 5, 5 + 50, "int2", 5),
    )
    row = evaluated_row(make_study(), folder, layers=layers)
    assert row.structure == {
        "blocks": 1,
        "mean_width": 10.0,
        "kept_share": 30 / 42,
        "mean_bits": (72 * 8 + 100 * 4 + 100 * 32 + 50 * 2) / 322,
    }
    assert structure_of(()) == {}
    hidden, last = layer("0", "linear", 8, 8 + 64, "int8", 16), layer("2", "linear", 5, 5 + 40, "fp32", 5)
    perceptron = structure_of((hidden, last))
    assert (perceptron["mean_width"], perceptron["kept_share"]) == (8.0, 0.5)
    assert set(STRUCTURE) <= set(trial_columns(make_study()))


def test_a_recipe_is_kept_and_told() -> None:
    notes = TrialNotes({}, "a", 1, 9, {"dropout": 0.1}, recipe={"epochs": 9, "dropout": 0.0}, teacher="artifacts/b/c")
    assert TrialNotes.from_json(through_json(notes.to_json())) == notes
    assert notes.settings == {"dropout": 0.0, "epochs": 9}
    assert not {"recipe", "teacher"} & TrialNotes({}, "a", 1, 9).to_json().keys()
    words = words_of(
        {"epochs": 9, "train_images": "all", "shares": {"dense": 0.5, "pruned": 0.5}, "milestones": [1, 2]}
    )
    assert words == "epochs=9 train_images=all shares.dense=0.5 shares.pruned=0.5 milestones=[1,2]"
    row = TrialRow(3, State.COMPLETE, "a", recipe=words)
    assert TrialRow.from_json(through_json(row.to_json())).recipe == words
    assert "recipe" not in TrialRow(3, State.COMPLETE, "a").to_json()
