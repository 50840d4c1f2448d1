"""One word for a target."""

from __future__ import annotations

import pytest

from nas.errors import InputError
from nas.first_study.targets import TARGETS, choose_target, target_named
from nas.study.targets import Target


@pytest.mark.parametrize("name", TARGETS)
def test_every_row_is_a_target_of_a_study(name: str) -> None:
    choice = choose_target(name)
    target = Target.model_validate(choice.value[0])
    assert target.runtime == ("openvino" if name == "openvino" else "onnxruntime")
    assert target.provider.startswith("CUDA") == (name == "cuda")
    assert choice.why


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="--target: expected one of cpu, openvino, cuda, elsewhere, got 'phone'"):
        target_named("phone")
