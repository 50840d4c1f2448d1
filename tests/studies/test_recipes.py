"""Recipes side by side: which trainings are done, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from nas.candidates.candidate import Candidate
from nas.study.file import load_study

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipes(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("recipes")


def test_every_job_is_another_training_that_its_study_allows(recipes: ModuleType) -> None:
    jobs = recipes.jobs_of(recipes.GROUPS, (1, 2))
    assert len({job.key for job in jobs}) == len(jobs)
    for job in jobs[:: len(jobs) // 20]:
        study = load_study(ROOT / job.study, job.overrides)
        assert study.training.epochs == job.notes["of_epochs"]
        assert study.training.resolved({}).peak_learning_rate == 0.1
        formats = set(Candidate.from_json(job.candidate).plan.formats.values()) or {"fp32"}
        assert formats == {"int8", job.notes["format"]} - ({"int8"} if job.stock else set())


def test_what_is_cut_short_is_paired(recipes: ModuleType) -> None:
    """All variants of a seed come before the next seed."""
    jobs = [job for job in recipes.jobs_of(["stage"], (1, 2)) if job.notes["of_epochs"] == 20]
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert [job.variant for job in jobs[: len(jobs) // 2]] == [job.variant for job in jobs[len(jobs) // 2 :]]


def test_differences_are_paired_by_seed(recipes: ModuleType) -> None:
    one, other = {1: 0.6, 2: 0.7, 3: 0.9}, {2: 0.6, 1: 0.5, 4: 0.1}
    found = recipes.difference(one, other)
    assert (found["pairs"], found["mean"]) == (2, pytest.approx(0.1))
    assert (found["low"], found["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    wide = recipes.difference({1: 0.0, 2: 1.0}, {1: 0.0, 2: 0.0})
    assert (wide["low"], wide["mean"], wide["high"]) == (0.0, 0.5, 1.0)  # a quarter of resamples at either end
    assert recipes.difference({1: 0.5}, {2: 0.5}) is None


def test_stock_files_are_a_recipe_of_their_own(recipes: ModuleType) -> None:
    rows = [
        {"recipe": "fp32", "format": "fp32", "of_epochs": 5, "seed": 1, "test": 0.7, "stock_test": 0.6},
        {"recipe": "folded", "format": "int8", "of_epochs": 5, "seed": 1, "test": 0.8},
        {"recipe": "live", "format": "int8", "of_epochs": 5, "seed": 1, "test": 0.9},
    ]
    found = {row["recipe"]: row for row in recipes.summary(rows, "test")}
    assert found["live"]["to_stock"]["mean"] == pytest.approx(0.3)
    assert found["live"]["to_folded"]["mean"] == pytest.approx(0.1)
    assert found["folded"]["to_fp32"]["mean"] == pytest.approx(0.1)
    assert found["stock"]["to_folded"]["mean"] == pytest.approx(-0.2)
    assert found["stock"]["accuracy"] == 0.6
