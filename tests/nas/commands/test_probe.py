"""The probe's arithmetic by hand, and one real probe."""

from __future__ import annotations

import pytest
from rich.console import Console

import nas.measuring.latency
from nas.candidates.corners import extreme_candidates
from nas.commands.probe import STEPS, Probe, probe, probe_table
from nas.study import Study


def make_study(**fields: object) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits", "train_images": 200},
            "space": {"preset": "8px"},
            "compression": {"pruning_ratio": (0.5,), "weight_format": ("int8",)},
            "search": {"trials": 10, "finalists": 3, "workers": 2, "epochs": 10},
            "training": {"epochs": 20, "batch_size": 32},
            **fields,
        }
    )


def test_the_whole_from_its_parts() -> None:
    study = make_study()
    step = {"dense": 0.1, "pruned": 0.2, "quantized": 0.4}
    found = Probe(study, extreme_candidates(study)["middle"], 7, step, around=3.0, measure=2.0)
    trial = 7 * (5 * 0.1 + 2 * 0.2 + 3 * 0.4)  # half, a fifth and three tenths of ten epochs
    assert found.trial_seconds(10) == pytest.approx(trial + 5)
    assert found.trial_seconds(20) == pytest.approx(2 * trial + 5)
    # Two workers share all but the measurement, which has the machine to itself.
    whole = 10 * ((trial + 3) / 2 + 2) + 3 * ((2 * trial + 3) / 2 + 2)
    assert found.study_seconds() == pytest.approx(whole)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(probe_table(found))
    for words in ("0.4000 s", "7 per epoch", f"{(trial + 5) / 60:.2f} min", f"{whole / 60:.1f} min", "2 worker(s)"):
        assert words in shown.get()
    assert "teacher" not in shown.get()


def test_with_rungs_a_trial_carries_those_that_were_stopped_for_it() -> None:
    search = {"trials": 10, "finalists": 0, "workers": 2, "epochs": 10, "rungs": (0.3, 0.6)}
    study = make_study(search=search)
    step = {"dense": 0.1, "pruned": 0.2, "quantized": 0.4}
    found = Probe(study, extreme_candidates(study)["middle"], 7, step, around=3.0, measure=2.0)
    training = 7 * (5 * 0.1 + 2 * 0.2 + 3 * 0.4)
    begun, passed, to_the_end = 1 / 0.3, 1 / 0.6, 1.0
    trained = training * (begun * 0.3 + passed * 0.3 + to_the_end * 0.4)
    looks = begun + passed
    shared = trained + looks * (0.1 * training + 3) + begun * 3
    assert found.study_seconds() == pytest.approx(10 * (shared / 2 + 2 * begun))


def test_a_reference_teacher_is_named() -> None:
    study = make_study(training={"distillation": {"teacher": "reference"}})
    step = {"dense": 0.1, "pruned": 0.2, "quantized": 0.4}
    console = Console(width=120)
    with console.capture() as shown:
        console.print(probe_table(Probe(study, extreme_candidates(study)["middle"], 7, step, around=3.0, measure=2.0)))
    assert "the reference teacher" in shown.get()


def test_a_real_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 1)
    found = probe(make_study())
    assert set(found.step) == {"dense", "pruned", "quantized"}
    assert all(seconds > 0 for seconds in found.step.values())
    assert found.steps_per_epoch == 7 > STEPS
    assert found.around > 0
    assert found.measure > 0
