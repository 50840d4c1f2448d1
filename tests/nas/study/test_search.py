"""The section `search`: its names are rows of tables."""

from __future__ import annotations

from typing import get_args

import pytest
from by_hand import make_study, task_of

from nas.run_folder.paths import RunFolder
from nas.samplers.named import SAMPLERS
from nas.search import search
from nas.study.search import MODELLING, Search

NAMES = get_args(Search.model_fields["sampler"].annotation)


def test_every_sampler_may_be_named() -> None:
    assert set(NAMES) == {*SAMPLERS, "pareto", "grid"}


@pytest.mark.parametrize("sampler", NAMES)
def test_every_sampler_that_may_be_named_proposes(sampler: str, folder: RunFolder) -> None:
    assert task_of(search.Search(make_study(sampler=sampler, anchors=False), folder)).number == 0


@pytest.mark.parametrize("asked", [{"warm_start": ("runs/a",)}, {"stop_when_gain_below": 0.01}])
def test_what_only_a_model_can_use_asks_for_one(asked: dict[str, object]) -> None:
    for sampler in NAMES:
        given = {"sampler": sampler, **asked}
        if sampler in MODELLING:
            assert Search.model_validate(given).sampler == sampler
        else:
            (key,) = asked
            with pytest.raises(ValueError, match=f"{key}: expected sampler pareto beside it, got {sampler}"):
                Search.model_validate(given)


def test_a_folder_is_named_once() -> None:
    with pytest.raises(ValueError, match=r"every folder of warm_start once, got \['a', 'a'\]"):
        Search.model_validate({"sampler": "pareto", "warm_start": ("a", "a")})
