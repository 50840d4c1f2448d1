"""Which onnxruntime a file needs: the table against files as they are emitted, and against the installed runtime."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compressors.plan import WeightFormat
from compressors.quantization.insertion import prepare
from nas.candidates.sampling import sample
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.runtimes.onnx.requirements import BY_OPSET, BY_TYPE, Requirement, requirement, requirement_of
from nas.study import Compression
from search_spaces.network import build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

NEEDED: dict[WeightFormat, str] = {
    "fp32": "1.19", "int8": "1.19", "int6": "1.19", "int5": "1.19", "int4": "1.23", "int3": "1.19", "int2": "1.24",
}  # fmt: skip


@pytest.mark.parametrize("weights", NEEDED)
def test_every_format_as_it_was_tried(tmp_path: Path, weights: WeightFormat) -> None:
    compression = Compression(weight_format=(weights,), edges_below_int8=weights != "fp32")
    space = MobileSpace.model_validate({"preset": "8px"})
    candidate = sample(Pick(random.Random(0).choice), space, compression, input_channels=1)
    network = prepare(build_network(candidate.architecture, 3, seed=0), candidate.plan.formats)
    onnx.save(emit(network, FileHeader(1, 8, ("a", "b", "c"))), tmp_path / "x.onnx")
    found = requirement_of(tmp_path / "x.onnx")
    assert found.version == NEEDED[weights]
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= tuple(map(int, found.version.split("."))):
        session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
        assert session.run(None, {"image": np.zeros((1, 1, 8, 8), np.float32)})[0].shape == (1, 3)


def test_the_newest_of_what_is_asked_for_counts() -> None:
    assert requirement(21, ["INT8", "INT4"]) == Requirement("1.23", "its weights are of type INT4")
    assert requirement(25, ["FLOAT"]) == Requirement("1.24", "it is of opset 25")
    assert requirement(25, ["INT2", "INT4"]).version == "1.24"
    assert str(requirement(21, ["INT4"])) == "onnxruntime 1.23 or later (its weights are of type INT4)"


def test_what_was_not_tried_is_not_stated(tmp_path: Path) -> None:
    for found in (requirement(17, ["FLOAT"]), requirement(99, ["FLOAT"]), requirement_of(tmp_path / "missing.onnx")):
        assert str(found) == "onnxruntime"
    assert set(BY_OPSET) == {21, 25}
    assert set(BY_TYPE) == {"INT4", "INT2"}
