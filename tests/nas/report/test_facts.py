"""What a page says of its study: every number as it was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.report.facts import constraints_words, study_facts
from nas.report.references import Reference
from nas.study import Study


def study_of(**changes: Any) -> Study:
    given = {"name": "t", "data": {"source": "digits", "train_images": 150}, "space": {"preset": "8px"}}
    return Study.model_validate(given | changes)


def facts_of(study: Study, folder: Path = Path("/nowhere"), references: tuple[Reference, ...] = ()) -> dict[str, str]:
    return dict(study_facts(folder, study, [], references))


def test_the_search_is_told_with_its_numbers() -> None:
    facts = facts_of(
        study_of(search={"sampler": "nsga2", "trials": 48, "finalists": 5, "seed": 7, "rungs": (0.25, 0.5)})
    )
    assert facts["Search"] == (
        "sampler nsga2, 48 complete trials asked for, compared at 0.25, 0.5 of their epochs, 5 finalists, seed 7"
    )
    assert facts["Objectives"] == "validation accuracy, parameters, latency, file size"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "20 of a trial and of a finalist"),
        ({"search": {"epochs": 3}}, "3 of a trial, 20 of a finalist"),
        ({"search": {"epochs": 3}, "finals": {"epochs": 60}}, "3 of a trial, 60 of a finalist"),
        ({"search": {"epochs": 3, "finalists": 0}}, "3 of a trial"),
    ],
)
def test_epochs_are_those_of_trials_and_finalists(changes: dict[str, Any], words: str) -> None:
    assert facts_of(study_of(**changes))["Epochs"] == words


def test_images_are_counted_where_they_are_recorded(tmp_path: Path) -> None:
    split = {"validation": list(range(30)), "test": ["a.png", "b.png"], "images": "digest"}
    assert facts_of(study_of())["Images"] == "150 training"
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert facts_of(study_of(), tmp_path)["Images"] == "150 training, 30 validation, 2 test"
    more = study_of(search={"train_images": 50}, finals={"train_images": "all"})
    assert facts_of(more, tmp_path)["Images"].startswith("50 training for a trial, all for a finalist, 30 validation")
    smaller = study_of(search={"input_size": 8})
    assert facts_of(smaller)["Images"] == "150 training, trials begin with 8 × 8 pixels"
    (tmp_path / "split.json").write_text("torn")
    assert facts_of(study_of(), tmp_path)["Images"] == "150 training"


def test_the_recipe_and_what_differs_for_finalists() -> None:
    training = {"optimizer": "adam", "batch_size": 64, "learning_rate": 0.002, "mixup": {"choices": (0.0, 0.2)}}
    finals = {"epochs": 60, "batch_size": 32, "randaugment": {"magnitude": 5}}
    facts = facts_of(study_of(training=training, finals=finals))
    assert facts["Recipe"] == (
        "adam, schedule one_cycle, batches of 64, learning rate 0.002, searched: mixup; of finalists: epochs=60 "
        "batch_size=32 randaugment.operations=2 randaugment.magnitude=5.0"
    )


def test_limits_are_told_as_they_were_asked_for() -> None:
    """No digit of a limit is rounded away."""
    limits = {"latency_ms": {"max": 0.123456}, "parameters": {"max": 77706.0}, "size_bytes": {"max": 20480.0}}
    words = constraints_words(study_of(constraints=limits | {"accuracy": {"min": 0.905}}))
    assert set(words.split(", ")) == {
        "latency at most 0.123456\u00a0ms", "parameters at most 77\u202f706", "file size at most 20.48\u00a0KB",
        "validation accuracy at least 90.5\u00a0%",
    }  # fmt: skip
    assert constraints_words(study_of()) == "none"


def test_the_baseline_is_told_also_where_it_is_left_out() -> None:
    assert facts_of(study_of(baseline=False))["Baseline"] == "left out (baseline: false)"
    assert facts_of(study_of())["Baseline"] == "a plain three-layer CNN; none is trained yet"
    failed = Reference({"reference": "baseline fp32", "state": "FAILED", "reason": "out of memory"})
    assert facts_of(study_of(), references=(failed,))["Baseline"] == "The baseline in fp32 failed: out of memory."


def test_the_space_names_kinds_ratios_and_formats() -> None:
    compression = {"pruning_ratio": (0.0, 0.25), "weight_format": ("int8", "int4"), "granularity": "layer"}
    mobile = {"family": "mobile", "preset": "8px"}
    assert facts_of(study_of(compression=compression, space=mobile))["Space"] == (
        "blocks: inverted residual; pruning ratios 0, 0.25; weights int8, int4; per layer"
    )


def test_what_else_may_be_done_is_told_where_it_may() -> None:
    mask = ({"ratio": 0.5, "scope": "global"}, None)
    compression = {"mask": mask, "pruning_schedule": "iterative", "remove_blocks": (False, True), "activation_bits": 4}
    told = facts_of(study_of(compression=compression))["Space"]
    assert "; single weights zeroed: 0.5 (of the whole network, in rounds); blocks removed; activations of 4" in told
    assert "pruning ratios 0; " in told
    ranks = {"low_rank": (None, {"method": "svd", "ratio": 0.5}), "remove_blocks": True, "remove_activations": True}
    told = facts_of(study_of(compression=ranks))["Space"]
    assert told.endswith("; low rank: whole, svd ratio 0.5; blocks and activations removed; per block")


def test_how_channels_go_is_told_where_it_is_not_as_usual() -> None:
    ratios = {"pruning_ratio": (0.0, 0.5)}
    rounds = {"importance": "leave_one_out", "pruning_scope": "global", "pruning_schedule": "iterative"}
    words = "pruning ratios 0, 0.5 (by leave one out, of the whole network, in rounds); "
    assert words in facts_of(study_of(compression={**ratios, **rounds}))["Space"]
    assert "0.5 (back to 10% of the dense" in facts_of(study_of(compression={**ratios, "rewind": 0.1}))["Space"]
    assert "pruning ratios 0, 0.5; " in facts_of(study_of(compression=ratios))["Space"]
    assert "pruning ratios 0; " in facts_of(study_of(compression={"importance": "l1"}))["Space"]
