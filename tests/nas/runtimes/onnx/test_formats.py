"""Every integer format, read back from the file: stored codes, distinct values, kernels, and the order of sizes."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx

from compressors.formats import FORMATS, WeightFormat
from compressors.pipeline import Options, compress
from compressors.quantization.activations import ActivationQuantizer
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.registry import RUNTIMES
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.onnx.requirements import requirement
from nas.runtimes.onnxruntime import Array
from nas.study import Compression, Study, Target
from search_spaces.network import build_network
from search_spaces.trials import Pick, last
from tests.helpers.networks import ARCHITECTURE, CLASSES, CPU, HEADER, LAYERS, pixels, quantized

torch.set_num_threads(1)

INTEGERS: tuple[WeightFormat, ...] = tuple(name for name, row in FORMATS.items() if not row.is_float)  # type: ignore[misc]


@cache
def network_in(name: WeightFormat) -> fx.GraphModule:
    """The small network with all layers in a format."""
    return quantized(dict.fromkeys(LAYERS, name))


@cache
def model_in(name: WeightFormat) -> onnx.ModelProto:
    return emit(network_in(name), HEADER)


def stored_weights(model: onnx.ModelProto) -> dict[str, Array]:
    """The weight that every layer of a file computes with, by the reference implementation of ONNX."""
    with_outputs = onnx.ModelProto()
    with_outputs.CopyFrom(model)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    for node in layers:
        with_outputs.graph.output.append(
            onnx.helper.make_tensor_value_info(node.input[1], onnx.TensorProto.FLOAT, None)
        )
    names = [node.input[1] for node in layers]
    image = pixels(1).astype(np.float32) / 255
    found = ReferenceEvaluator(with_outputs).run(names, {"image": image})
    return {node.name: weight for node, weight in zip(layers, found, strict=True)}


@pytest.mark.parametrize("name", INTEGERS)
def test_weights_in_the_file_are_those_of_the_network(name: WeightFormat) -> None:
    weights, network = stored_weights(model_in(name)), network_in(name)
    assert set(weights) == set(LAYERS)
    for layer, weight in weights.items():
        expected = network.get_submodule(layer).quantized()[0].detach().numpy()
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_distinct_values_in_the_file() -> None:
    for weight in stored_weights(model_in("binary")).values():
        assert all(len(np.unique(np.abs(channel))) == 1 for channel in weight)
        assert all(len(np.unique(channel)) <= 2 for channel in weight)
    for weight in stored_weights(model_in("ternary")).values():
        assert all(len(np.unique(np.abs(channel[channel != 0]))) <= 1 for channel in weight)
    for name, most in (("codebook2", 4), ("codebook3", 8), ("codebook4", 16)):
        for weight in stored_weights(model_in(name)).values():  # type: ignore[arg-type]
            assert len(np.unique(weight)) <= most
    some = np.unique(stored_weights(model_in("codebook2"))["classifier"])
    assert len(some) == 4
    assert np.ptp(np.diff(some)) > 0.05 * np.diff(some).mean()  # uneven


def test_every_scale_around_layers_of_fixed_point_is_a_power_of_two() -> None:
    model = model_in("pow2")
    values = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = np.concatenate([values[node.input[1]].reshape(-1) for node in nodes])
    assert len(scales) > 2 * len(LAYERS)
    assert all(math.frexp(scale)[0] == 0.5 for scale in scales.tolist())


def test_zero_points_of_channels_are_stored() -> None:
    model = model_in("int8_asymmetric")
    values = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    zeros = [
        values[n.input[2]]
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in values and len(n.input) == 3
    ]
    assert len(zeros) == len(LAYERS)
    assert len(np.unique(np.concatenate(zeros))) > len(LAYERS)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "name", ["ternary", "binary", "codebook4", "codebook3", "codebook2", "pow2", "int8_asymmetric"]
)
def test_runtimes_compute_what_torch_does_on_integer_kernels(name: WeightFormat, runtime: str, tmp_path: Path) -> None:
    row, network = RUNTIMES[runtime], network_in(name)
    if name in row.refused:
        pytest.skip(row.refused[name])
    target = CPU if runtime == "onnxruntime" else Target(name="o", runtime="openvino", batch=8)
    (tmp_path / "m.onnx").write_bytes(row.emit(network, HEADER))
    images = pixels(8).astype(np.float32) / 255
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    found = row.open(tmp_path / "m.onnx", target).predict(images)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    ran = row.integer_layers(tmp_path / "m.onnx", target)
    assert ran == set(LAYERS) if runtime == "onnxruntime" else len(ran) >= len(LAYERS) - 1


def test_fixed_point_is_exact(tmp_path: Path) -> None:
    """Halves, which are frequent on such scales, are rounded alike in additions of signed codes too."""
    network = network_in("pow2")
    (tmp_path / "m.onnx").write_bytes(RUNTIMES["onnxruntime"].emit(network, HEADER))
    images = pixels(64).astype(np.float32) / 255
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    found = RUNTIMES["onnxruntime"].open(tmp_path / "m.onnx", CPU).predict(images)
    np.testing.assert_array_equal(found, expected)
    points = [int(m.zero_point) for m in network.modules() if isinstance(m, ActivationQuantizer) and not m.is_fixed]
    assert any(points)
    assert all(point % 2 == 0 for point in points)


@pytest.mark.parametrize("name", INTEGERS)
def test_costs_are_those_of_the_layers(name: WeightFormat) -> None:
    costs, plain = read_costs(model_in(name)), read_costs(model_in("int8"))
    assert costs == plain
    assert costs.parameters == Candidate(architecture=ARCHITECTURE).parameters(len(CLASSES))


def widest(name: WeightFormat) -> Candidate:
    """The widest network of the digits study, its edges as a study has them."""
    study = Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mobile", "preset": "8px"},
            "compression": {"weight_format": (name,)},
        }
    )
    return sample(Pick(last), study.space, Compression(weight_format=(name,)), input_channels=1)


def test_order_of_sizes_on_the_widest_digits_network() -> None:
    found = {name: forecast(widest(name), HEADER) for name in INTEGERS}
    size = {name: told.size_bytes for name, told in found.items() if told is not None}
    assert size["int8"] > size["codebook4"] > size["codebook3"] > size["codebook2"]
    assert size["int8"] > size["int4"] > size["int3"] > size["int2"] > size["binary"]
    assert size["codebook4"] < size["int4"]  # one scale for a layer, and not one for a channel
    assert abs(size["ternary"] - size["int2"]) < 30


def emitted_size(name: WeightFormat) -> int:
    """Bytes of the file of the widest network, untrained."""
    candidate = widest(name)
    network = build_network(candidate.architecture, len(CLASSES), seed=0)
    images = torch.from_numpy(pixels(4).astype(np.float32) / 255)
    return len(emit(compress(network, candidate.plan, Options(), [images], trained=False), HEADER).SerializeToString())


def test_the_order_is_that_of_emitted_files() -> None:
    size = {name: emitted_size(name) for name in ("int8", "codebook4", "codebook2", "int2", "ternary", "binary")}  # type: ignore[arg-type]
    assert size["int8"] > size["codebook4"] > size["codebook2"]
    assert size["int2"] > size["binary"]
    assert abs(size["int2"] - size["ternary"]) < 100  # zero points of activations that are equal


def test_narrow_types_need_the_runtime_that_reads_them() -> None:
    def needs(name: WeightFormat) -> str:
        model = model_in(name)
        kinds = {onnx.TensorProto.DataType.Name(weight.data_type) for weight in model.graph.initializer}
        return requirement(model.opset_import[0].version, kinds).version

    versions = {"ternary": "1.24", "codebook2": "1.24", "codebook4": "1.23", "codebook3": "1.19", "binary": "1.19"}
    assert {name: needs(name) for name in versions} == versions  # type: ignore[arg-type]
