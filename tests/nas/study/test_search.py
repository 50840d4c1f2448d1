"""The section `search`: its names are rows of tables."""

from __future__ import annotations

from typing import get_args

import pytest

from nas.samplers.named import SAMPLERS
from nas.search.modelled import LASTING
from nas.study.search import MODELLING, Search


def test_every_sampler_may_be_named() -> None:
    assert set(get_args(Search.model_fields["sampler"].annotation)) == {*SAMPLERS, *LASTING}


@pytest.mark.parametrize("asked", [{"warm_start": ("runs/a",)}, {"stop_when_gain_below": 0.01}])
def test_what_only_a_model_can_use_asks_for_one(asked: dict[str, object]) -> None:
    for sampler in get_args(Search.model_fields["sampler"].annotation):
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
