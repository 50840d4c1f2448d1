"""What is OpenVINO's own: which files it reads, how it is opened, whose words its errors use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import HEADER, LAYERS, MIXED, pixels, quantized
from onnx import TensorProto

from compressors.plan import WeightFormat
from nas.measuring.scoring import as_float
from nas.runtimes.onnxruntime import ONNXRUNTIME
from nas.runtimes.openvino import OPENVINO, Runner, reason
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target

pytest.importorskip("openvino", reason="openvino is not installed here")
OV = Target(name="ov", runtime="openvino")


@pytest.mark.parametrize(
    ("weights", "same"),
    [("int8", True), ("int4", True), ("int6", False), ("int5", False), ("int3", False), ("int2", False)],
)
def test_what_it_cannot_unpack_it_gets_as_int8_codes(weights: WeightFormat, same: bool) -> None:
    network = quantized(dict.fromkeys(LAYERS, weights))
    theirs, ours = OPENVINO.emit(network, HEADER), ONNXRUNTIME.emit(network, HEADER)
    assert (theirs == ours) is same
    model = onnx.load_from_string(theirs)
    assert not model.functions
    assert TensorProto.INT2 not in {weight.data_type for weight in model.graph.initializer}
    target = Target(name="cpu")
    logits = [ONNXRUNTIME.open(data, target).predict(as_float(pixels())) for data in (theirs, ours)]
    assert np.array_equal(*logits)


@pytest.mark.parametrize(
    ("weights", "words"), [("int2", "Unsupported"), ("int3", "No conversion rule found for operations: compact_nas.")]
)
def test_another_runtimes_file_is_refused(weights: WeightFormat, words: str) -> None:
    with pytest.raises(RuntimeRefused, match=words):
        OPENVINO.open(ONNXRUNTIME.emit(quantized(dict.fromkeys(LAYERS, weights)), HEADER), OV)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_opened_with_the_targets_threads_in_float32_and_bound_to_no_core(threads: int) -> None:
    data = OPENVINO.emit(quantized(MIXED), HEADER)
    compiled = Runner(data, OV.model_copy(update={"threads": threads})).compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == min(threads, os.cpu_count() or 1)
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_it_is_compiled_for_the_targets_batch() -> None:
    data = OPENVINO.emit(quantized(MIXED), HEADER)
    assert list(Runner(data, OV.model_copy(update={"batch": 4})).compiled.inputs[0].shape) == [4, 1, 8, 8]


def test_its_layers_are_found_where_a_relu_stays_in_the_file(tmp_path: Path) -> None:
    """A zero point other than 0 leaves the ReLU to the runtime: what its own kernels make of it is what is reported."""
    network = quantized(dict.fromkeys(LAYERS, "int8"))
    file = tmp_path / "model.onnx"
    file.write_bytes(OPENVINO.emit(network, HEADER))
    ran = set(Runner(file, OV).integer_operations())
    assert "logits" in ran  # the classifier goes by the name of its output
    assert OPENVINO.integer_layers(file, OV) == set(LAYERS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "Exception from a.cpp:1:\nCheck 'false' failed at b.cpp:2:\nLoading input model\nUnsupported type\n\n\n",
            "Unsupported type",
        ),
        (
            "Exception from a.cpp:1:\nlog:\n-- X says:\n-- No conversion rule found for operations: d.F\n-- Y",
            "No conversion rule found for operations: d.F",
        ),
        ("one line", "one line"),
        ("", "no reason given"),
    ],
)
def test_a_refusal_is_one_line(text: str, why: str) -> None:
    assert reason(text) == why
