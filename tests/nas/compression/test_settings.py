"""Wishes as a study: what stands in it, and that it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressors.low_rank.factoring import Factoring
from nas.compression.settings import fine_tuning, study_of, study_text
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError
from nas.study import Study
from nas.study.file import parse_study

HALF = Factoring(method="svd", ratio=0.5)
FILE = Path("to/study.yaml")


def wishes(**fields: object) -> Wishes:
    space = {"base": "torchvision.resnet18", "input_size": 32}
    return Wishes(space=space, data={"source": "digits"}, **fields)  # type: ignore[arg-type]


def study(**fields: object) -> Study:
    return study_of(wishes(**fields), FILE)


def test_a_plan_stands_as_single_choices() -> None:
    asked = study(ratio=Asked((0.5,)), format=Asked(("int4",)), rank=Asked((HALF,)), importance="taylor", epochs=7)
    compression = asked.compression
    assert asked.name == "resnet18"
    assert (compression.pruning_ratio, compression.weight_format) == ((0.5,), ("int4",))
    assert (compression.low_rank_choices, compression.importance) == ((HALF,), "taylor")
    assert (compression.granularity, compression.stage_widths) == ("network", True)
    assert (asked.training.epochs, asked.search.trials, asked.baseline) == (7, 1, False)
    assert asked.objectives == ("accuracy", "size_bytes", "latency_ms")


def test_what_an_option_leaves_out() -> None:
    """Alone it means 8-bit integers; beside another step floats stay; for limits it begins with int8."""
    assert study().compression.weight_format == ("int8",)
    assert study(ratio=Asked((0.5,))).compression.weight_format == ("fp32",)
    assert study(rank=Asked((HALF,))).compression.weight_format == ("fp32",)
    assert study(limits={"macs": 1e6}).compression.weight_format == ("int8",)
    assert study(format=Asked((), {"fc": "int8"})).compression.weight_format == ("fp32",)


def test_limits_are_constraints_and_objectives() -> None:
    asked = study(limits={"macs": 1e6, "latency_ms": 2.0})
    assert asked.limits == {"macs": 1e6, "latency_ms": 2.0}
    assert asked.objectives == ("accuracy", "macs", "latency_ms")


def test_trials_search_for_the_plan_by_block() -> None:
    asked = study(trials=18, ratio=Asked((0.0, 0.5)))
    assert (asked.search.trials, asked.search.finalists) == (18, 3)
    assert asked.compression.pruning_ratio == (0.0, 0.5)
    assert asked.compression.weight_format == ("int8", "int4")
    assert asked.compression.granularity == "block"
    assert study(trials=2).search.finalists == 1


def test_sections_of_a_study_come_along_and_overrides_go_before_all() -> None:
    sections = {"training": {"epochs": 3, "batch_size": 32}, "targets": [{"name": "here", "threads": 2}]}
    sections |= {"search": {"trials": 99}, "compression": {"pruning_ratio": 0.25}}
    asked = study(sections=sections, epochs=5, overrides=["training.batch_size=16", "compression.importance=l1"])
    assert (asked.training.epochs, asked.training.batch_size) == (5, 16)
    assert (asked.target.name, asked.target.threads) == ("here", 2)
    assert (asked.search.trials, asked.compression.pruning_ratio) == (1, (0.0,))
    assert asked.compression.importance == "l1"


def test_the_text_that_is_kept_is_the_study() -> None:
    """With its overrides written out."""
    own = wishes(ratio=Asked((0.25,)), limits={"size_bytes": 1e5}, overrides=["training.batch_size=16", "name=mine"])
    assert parse_study(study_text(own), FILE) == study_of(own, FILE)
    assert study_text(own).startswith("# Written by nas compress: one network, and one plan for it.")


def test_a_network_with_weights_is_trained_on_gently_unless_the_user_says_how() -> None:
    gentle = fine_tuning(wishes())
    assert study_of(gentle, FILE).training.learning_rate == 0.03
    assert study_of(gentle, FILE).training.shares == {"dense": 0.1, "pruned": 0.5, "quantized": 0.4}
    said = wishes(sections={"training": {"learning_rate": 0.2}}, overrides=["training.shares={dense: 1.0}"])
    assert fine_tuning(said) == said
    adam = study_of(fine_tuning(wishes(overrides=["training.optimizer=adam"])), FILE).training
    assert (adam.learning_rate, adam.shares["dense"]) == (None, 0.1)


def test_a_key_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"command line: training.epoch: unknown key"):
        study(overrides=["training.epoch=3"])
    with pytest.raises(InputError, match="expected KEY=VALUE"):
        study(overrides=["training"])
