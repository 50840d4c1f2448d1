"""The section `compression`: its names are rows of tables, and only integers have step sizes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from compressors.pruning.criteria import IMPORTANCES
from nas.study import Compression, Study
from nas.study.masking import strength


def test_every_importance_may_be_named() -> None:
    assert set(get_args(Compression.model_fields["importance"].annotation)) == set(IMPORTANCES)


def test_ratios_and_formats_are_one_value_or_choices() -> None:
    one = Compression.model_validate({"pruning_ratio": 0.5, "weight_format": "codebook2", "remove_blocks": True})
    assert (one.pruning_ratio, one.weight_format, one.remove_blocks) == ((0.5,), ("codebook2",), (True,))
    assert Compression.model_validate_json('{"weight_format": "int8"}') == Compression(weight_format=("int8",))


def test_only_integers_have_step_sizes_to_learn() -> None:
    with pytest.raises(ValidationError, match=r"expected formats with step sizes, got fp32 among \['int4', 'fp32'\]"):
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


def study(
    compression: dict[str, object], training: dict[str, object], activations: tuple[str, ...] = ("relu",)
) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mobile", "preset": "8px", "activations": activations},
            "compression": compression,
            "training": training,
        }
    )


def test_what_goes_together_with_quantization_after_training() -> None:
    dynamic: dict[str, object] = {"quantization": {"choices": ("aware", "dynamic")}}
    wanted = "compression.weight_format: expected fp32 and int8 alone with training.quantization dynamic, got int4"
    with pytest.raises(ValidationError, match=wanted):
        study({"weight_format": ("fp32", "int4")}, dynamic)
    wanted = "compression.activation_bits: expected 8 with training.quantization dynamic, got 4"
    with pytest.raises(ValidationError, match=wanted):
        study({"weight_format": ("int8",), "activation_bits": 4}, dynamic)
    assert study({"weight_format": ("fp32", "int8")}, dynamic).training.quantizations == ("aware", "dynamic")


def test_equalization_wants_a_relu() -> None:
    equalized: dict[str, object] = {"quantization": "static", "equalization": True}
    with pytest.raises(ValidationError, match=r"training.equalization: expected relu among .*, got hardswish, relu6"):
        study({}, equalized, ("relu6", "hardswish"))
    assert study({}, equalized, ("relu6", "relu")).training.equalization
    given = study({}, {}, ("hardswish",)).model_dump()
    with pytest.raises(ValidationError, match=r"finals.equalization: expected relu among .*, got hardswish"):
        Study.model_validate({**given, "finals": {"equalization": True}})


def test_moments_that_rank_are_those_of_every_training() -> None:
    momentum: dict[str, object] = {"importance": "momentum"}
    words = "compression.importance: momentum ranks by the optimizer's first moments, expected {}.momentum above 0"
    some = {"choices": ("adam", "sgd")}
    for number in (0.0, {"choices": (0.9, 0.0)}, {"low": 0.0, "high": 0.9}):
        with pytest.raises(ValidationError, match=words.format("training")):
            study(momentum, {"optimizer": some, "momentum": number})
    assert study(momentum, {"optimizer": some, "momentum": {"low": 0.1, "high": 0.9}})
    assert study(momentum, {"optimizer": {"choices": ("adam", "adamw")}, "momentum": 0.0})
    given = study(momentum, {}).model_dump()
    with pytest.raises(ValidationError, match=words.format("finals")):
        Study.model_validate({**given, "finals": {"momentum": 0.0}})


@pytest.mark.parametrize("bits", [9, 2, True])
def test_activations_have_eight_bits_or_four(bits: object) -> None:
    with pytest.raises(ValidationError):
        study({"activation_bits": bits}, {})
