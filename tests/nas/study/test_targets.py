"""Targets as a study writes them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from toy_runtime import Toy

from nas.registry import RUNTIMES
from nas.study import Target


def test_a_fully_written_target_of_before_is_the_default() -> None:
    written = {"name": "cpu", "runtime": "onnxruntime", "provider": "CPUExecutionProvider", "threads": 1, "batch": 1}
    assert Target.model_validate(written) == Target(name="cpu")


@pytest.mark.parametrize(
    ("runtime", "provider"), [("onnxruntime", "CPUExecutionProvider"), ("openvino", "CPU"), ("toy", "table")]
)
def test_the_provider_left_out_is_the_runtimes_own(
    runtime: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    assert Target(name="t", runtime=runtime).provider == provider
    assert Target(name="t", runtime=runtime, provider="CUDAExecutionProvider").provider == "CUDAExecutionProvider"


def test_an_unknown_runtime_is_told_with_those_there_are() -> None:
    with pytest.raises(ValidationError) as refused:
        Target(name="t", runtime="tensorrt")
    (error,) = refused.value.errors()
    assert error["loc"] == ("runtime",)
    assert "expected one of onnxruntime, openvino, got 'tensorrt'" in error["msg"]
