"""The section `compression`: its names are rows of tables, and only integers have step sizes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from compressors.pruning import IMPORTANCES
from nas.study import Compression
from nas.study.masking import strength


def test_every_importance_may_be_named() -> None:
    assert set(get_args(Compression.model_fields["importance"].annotation)) == set(IMPORTANCES)


def test_only_integers_have_step_sizes_to_learn() -> None:
    with pytest.raises(ValidationError, match=r"expected formats with step sizes, got fp32 among \['int4', 'fp32'\]"):
        Compression(learned_step_sizes=("int4", "fp32"))
    assert Compression(learned_step_sizes=("int8", "int2")).learned_step_sizes == ("int8", "int2")


def test_what_ends_with_its_own_weights_has_none_to_go_back_to() -> None:
    with pytest.raises(ValidationError, match=r"rewind: expected null with pruning_schedule iterative.* got 0.1"):
        Compression(rewind=0.1, pruning_schedule="iterative")
    assert Compression(rewind=0.0).rewind == 0.0


def test_masks_are_one_amount_or_choices() -> None:
    assert Compression().mask_choices == (None,)
    (one,) = Compression.model_validate({"mask": {"ratio": 0.5}}).mask_choices
    assert (str(one), one.decision()) == ("0.5", {"ratio": 0.5})
    given = {"mask": [None, {"threshold": 0.02}, {"ratio": 0.5, "by": "sensitivity"}, {"ratio": 0.0}]}
    found = Compression.model_validate(given).mask_choices
    assert [str(choice) for choice in found] == ["None", "up to 0.02", "0.5 by sensitivity", "0"]
    decisions = [None if choice is None else choice.decision() for choice in found]
    assert decisions == [None, {"threshold": 0.02}, {"ratio": 0.5, "by": "sensitivity"}, None]
    assert sorted(found, key=strength)[-1] is found[2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ratio": 1.0}, "less than 1"),
        ({}, "expected a ratio or a threshold, got neither"),
        ({"ratio": 0.5, "threshold": 0.1}, "expected a ratio or a threshold, got both"),
        ({"threshold": 0.1, "by": "sensitivity"}, "by: expected magnitude beside a threshold"),
        ({"threshold": 0.1, "scope": "global"}, "scope: expected local beside a threshold"),
        ([{"ratio": 0.5}, {"ratio": 0.5}], "every choice once"),
        ([{"ratio": 0.5}, {"ratio": 0.5, "scope": "global"}], "expected choices of one scope"),
        ([], "at least 1 item"),
    ],
)
def test_impossible_masks_are_refused(given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Compression.model_validate({"mask": given})


def test_masks_that_grow_are_ranked_by_size() -> None:
    grown = {"pruning_schedule": "iterative", "mask": {"ratio": 0.5, "by": "sensitivity"}}
    with pytest.raises(ValidationError, match="mask: expected by: magnitude with pruning_schedule iterative"):
        Compression.model_validate(grown)
    assert Compression.model_validate({**grown, "mask": {"ratio": 0.5}}).pruning_schedule == "iterative"


@pytest.mark.parametrize("fields", [{"pruning_ratio": (1.0,)}, {"rewind": 1.0}, {"importance": "l3"}])
def test_impossible_requests_name_their_key(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Compression.model_validate(fields)
