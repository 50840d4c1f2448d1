"""The section `compression`: its names are rows of tables, and only integers have step sizes."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from compressors.pruning.importances import IMPORTANCES
from nas.study import Compression, Study


def test_every_importance_may_be_named() -> None:
    assert set(get_args(Compression.model_fields["importance"].annotation)) == set(IMPORTANCES)


def test_only_integers_have_step_sizes_to_learn() -> None:
    with pytest.raises(ValidationError, match=r"expected integer formats, got fp32 among \['int4', 'fp32'\]"):
        Compression(learned_step_sizes=("int4", "fp32"))
    assert Compression(learned_step_sizes=("int8", "int2")).learned_step_sizes == ("int8", "int2")


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


@pytest.mark.parametrize("bits", [9, 2, True])
def test_activations_have_eight_bits_or_four(bits: object) -> None:
    with pytest.raises(ValidationError):
        study({"activation_bits": bits}, {})
