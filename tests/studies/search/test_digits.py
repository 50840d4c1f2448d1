"""Searches that train, side by side: what is read of run folders, and what is reckoned of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from nas.candidates.candidate import Candidate
from nas.study.file import load_study
from search_spaces.trials import Pick, last

Import = Callable[[str], ModuleType]
STUDY = Path(__file__).parents[3] / "studies" / "digits.yaml"


def rows_of(accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"accuracy": accuracies, "size_bytes": [1000.0] * len(accuracies)})


def test_shares_are_of_what_all_searches_dominate_together(module: Import) -> None:
    """Of one size, networks dominate as their accuracy lies above the reference point, 10 % below the worst."""
    searches = {"ours": {0: rows_of([0.5, 0.5, 1.0])}, "theirs": {0: rows_of([0.55, 0.6, 0.7])}}
    found = module("digits").shares_of(searches, ("accuracy", "size_bytes"), 3)
    floor = 0.5 / 1.1
    assert found["ours"][0] == pytest.approx({1: (0.5 - floor) / (1 - floor), 2: (0.5 - floor) / (1 - floor), 3: 1})
    assert found["theirs"][0][3] == pytest.approx((0.7 - floor) / (1 - floor))


def test_differences_are_paired_by_seed(module: Import) -> None:
    shares = {"a": {0: {24: 0.75}, 1: {24: 0.5}}, "b": {0: {24: 0.5}, 1: {24: 0.25}}}
    assert tuple(module("digits").paired(shares, 24)["b"]) == (0.25, 0.25, 0.25)


def test_only_complete_trials_count_and_a_search_that_is_done_is_not_run_again(module: Import, tmp_path: Path) -> None:
    digits = module("digits")
    assert len(digits.complete(tmp_path)) == 0
    states = ["COMPLETE", "DUPLICATE", "INFEASIBLE", "COMPLETE"]
    pd.DataFrame({"number": [3, 2, 1, 0], "state": states}).to_csv(tmp_path / "trials.csv", index=False)
    assert digits.complete(tmp_path)["number"].tolist() == [0, 3]
    digits.search(Path("no such study"), [], tmp_path, 2)


def test_formats_by_sensitivity_fill_what_the_size_allows(module: Import) -> None:
    """One block, at whose sensitivity nothing else is: it keeps its bits, the others give theirs."""
    one_by_one, study = module("one_by_one"), load_study(STUDY)
    base = one_by_one.sample(Pick(last), study.space, study.compression, input_channels=1)
    base = Candidate(architecture=base.architecture)
    layers = base.layers(1)
    size = {block: {"int8": 8.0, "fp32": 32.0} for block in dict.fromkeys(layer.block for layer in layers)}
    precious = layers[3].block
    harm = {block: {"int8": 9.0 if block == precious else 1e-6, "fp32": 0.0} for block in size}
    found = one_by_one.with_formats(base, harm, size, 0.3)
    kept = {layer.block for layer in layers if found.plan.format_of(layer.name) == "fp32"}
    assert precious in kept
    budget = len(size) * 8 * 4**0.3
    assert sum(32 if block in kept else 8 for block in size) <= budget < 8 * len(size) + 24 * (len(kept) + 1)
    smallest = one_by_one.with_formats(base, harm, size, 0.0)
    assert {smallest.plan.format_of(layer.name) for layer in layers} == {"int8"}


def test_the_networks_that_go_on_dominate_most_together(module: Import) -> None:
    one_by_one = module("one_by_one")
    given = [(0.9, 10_000), (0.89, 20_000), (0.95, 100_000), (0.5, 9_000)]
    trained = [one_by_one.Trained(Candidate.model_construct(), *figures, None) for figures in given]
    chosen = {(one.accuracy, one.size_bytes) for one in one_by_one.best(trained)}
    assert (0.9, 10_000) in chosen
    assert len(chosen) == one_by_one.KEPT
