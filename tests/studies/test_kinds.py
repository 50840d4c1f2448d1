"""Ladders of networks by kind of block, and what is made of their accuracies and costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from nas.candidates.candidate import Candidate
from nas.study.file import load_study

ROOT = Path(__file__).parents[2]
Benchmark = Callable[[str], ModuleType]


def test_ladders_of_networks_come_near_to_their_targets(benchmark: Benchmark) -> None:
    ladders = benchmark("ladders")
    for size in ladders.STAGES:
        steps = list(ladders.steps(size))
        names = {step.ladder for step in steps}
        assert len({step.name for step in steps}) == len(names) * len(ladders.TARGETS_BYTES)
        assert ladders.LADDERS.keys() - names == (set() if size == 32 else {"residual, whole map"})
        for step in steps:
            weights = step.candidate.weight_bytes(ladders.CLASSES)
            assert step.target_bytes / 2 < weights < 2 * step.target_bytes, step.name
            assert step.candidate.architecture.input_size == size
            assert set(step.candidate.plan.formats.values()) == {"int8"}
            assert 4 <= step.candidate.architecture.blocks()[-1].output_size <= 16, step.name


def test_accuracies_of_kinds_are_joined_with_their_costs(benchmark: Benchmark) -> None:
    kinds = benchmark("kinds")
    notes = {"images": "digits", "input_size": 64, "target_bytes": 12000}
    rows = [
        {**notes, "ladder": ladder, "candidate": ladder, "validation": 0.5, "test": test}
        for ladder, test in (("a", 0.5), ("a", 0.7), ("b", 0.9), ("c", 0.6))
    ]
    costs = {"parameters": 1, "macs": 2, "int8_bytes": 3, "fp32_ms": 1.0}
    found = kinds.joined(
        rows, [{**costs, "candidate": name, "int8_ms": ms} for name, ms in (("a", 1.0), ("b", 2.0), ("c", 1.5))]
    )
    assert [(row["ladder"], row["seeds"], row["test"], row["int8_ms"]) for row in found] == [
        ("a", 2, pytest.approx(0.6), 1.0), ("b", 1, 0.9, 2.0), ("c", 1, 0.6, 1.5),
    ]  # fmt: skip
    assert [row["ladder"] for row in kinds.on_front(found, "int8_ms")] == ["a", "b"], "c is slower than a for as much"
    assert [row["ladder"] for row in kinds.on_front(found, "int8_bytes")] == ["b"]
    assert len(kinds.table_of(found).rows) == 3


def test_every_ladder_is_tried_on_the_images_of_each_trial(benchmark: Benchmark) -> None:
    kinds = benchmark("kinds")
    jobs = list(kinds.jobs(kinds.TRIALS, 2))
    assert len({job.key for job in jobs}) == len(jobs)
    first = [job for job in jobs if job.seed == 0]
    assert jobs[: len(first)] == first, "a run cut short has all of the first seed"
    for job in first[:: len(first) // 7]:
        study = load_study(ROOT / job.study, job.overrides)
        assert study.data.input_channels == job.candidate["architecture"]["input_channels"]
        assert Candidate.from_json(job.candidate).architecture.input_size == job.notes["input_size"]
