"""The section `search`: its names are rows of tables."""

from __future__ import annotations

from typing import get_args

from nas.samplers.named import SAMPLERS
from nas.search.modelled import LASTING
from nas.study.search import Search


def test_every_sampler_may_be_named() -> None:
    assert set(get_args(Search.model_fields["sampler"].annotation)) == {*SAMPLERS, *LASTING}
