"""The section `compression`: its names are rows of tables, and only integers have step sizes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from compressors.pruning import IMPORTANCES
from nas.study import Compression


def test_every_importance_may_be_named() -> None:
    assert set(get_args(Compression.model_fields["importance"].annotation)) == set(IMPORTANCES)


def test_only_integers_have_step_sizes_to_learn() -> None:
    with pytest.raises(ValidationError, match=r"expected integer formats, got fp32 among \['int4', 'fp32'\]"):
        Compression(learned_step_sizes=("int4", "fp32"))
    assert Compression(learned_step_sizes=("int8", "int2")).learned_step_sizes == ("int8", "int2")


def test_what_ends_with_its_own_weights_has_none_to_go_back_to() -> None:
    with pytest.raises(ValidationError, match=r"rewind: expected null with pruning_schedule iterative.* got 0.1"):
        Compression(rewind=0.1, pruning_schedule="iterative")
    assert Compression(rewind=0.0).rewind == 0.0


@pytest.mark.parametrize(
    "fields",
    [{"remove_blocks": (True, False)}, {"remove_activations": True}, {"low_rank": {"method": "svd", "ratio": 0.5}}],
)
def test_only_the_dense_network_goes_back(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"rewind: expected null with {next(iter(fields))}, .* got 0.1"):
        Compression.model_validate({"rewind": 0.1, **fields})


@pytest.mark.parametrize("fields", [{"pruning_ratio": (1.0,)}, {"rewind": 1.0}, {"importance": "l3"}])
def test_impossible_requests_name_their_key(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Compression.model_validate(fields)
