"""Dynamic quantization: integer codes of what a call is given, and the file that computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.quantization.dynamic import DynamicLinear, dynamic_codes
from compressors.support import Unsupported
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.runtimes.onnx.writer import UnknownOperation
from nas.runtimes.onnxruntime import ONNXRUNTIME, Runner, integer_layers
from nas.study import Target

torch.set_num_threads(1)
CPU, HEADER = Target(name="cpu"), FileHeader(2, 4, ("a", "b", "c"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.classifier = nn.Conv2d(2, 4, 3), nn.Linear(16, 8), nn.Linear(8, 3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.relu(self.hidden(torch.flatten(self.conv(x), 1))))


def network() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def images() -> Tensor:
    return torch.rand(16, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def dynamic(*layers: str, fmt: str = "int8") -> nn.Module:
    plan = CompressionPlan.model_construct(formats=dict.fromkeys(layers, fmt), steps={"dynamic": {"network": True}})
    return compress(network(), plan, Options(), [images()])


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20))
def test_codes_are_those_of_onnx(values: list[float]) -> None:
    """Against the operator's reference implementation."""
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    x = np.array(values, np.float32)
    if float(np.ptp(np.append(x, 0))) < 1e-6:
        return
    codes, scale, zero = ReferenceEvaluator(node).run(None, {"x": x})
    found, step = dynamic_codes(torch.from_numpy(x))
    assert float(step) == pytest.approx(float(scale), rel=1e-6)
    assert np.abs(found.numpy() - (codes.astype(np.int64) - int(zero))).max() <= 1  # at ties
    assert np.mean(found.numpy() == codes.astype(np.int64) - int(zero)) >= 0.9 or len(values) < 10


def test_nothing_but_zeros() -> None:
    codes, step = dynamic_codes(torch.zeros(3))
    assert codes.tolist() == [0, 0, 0]
    assert float(step) > 0


def test_a_layer_is_close_to_the_float_one() -> None:
    linear, x = nn.Linear(32, 5), torch.randn(64, 32)
    found = DynamicLinear(linear)(x)
    assert float((found - linear(x)).detach().abs().max()) < 0.05
    assert torch.allclose(DynamicLinear(linear).weight, linear.weight, atol=0.01)


def test_the_file_multiplies_integers_and_computes_the_same(tmp_path: Path) -> None:
    found = dynamic("hidden", "classifier")
    model = emit(found, HEADER)
    assert isinstance(found, fx.GraphModule)
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    assert np.allclose(Runner(file, CPU).predict(images().numpy()), found(images()).detach().numpy(), atol=1e-5)
    assert integer_layers(file, CPU) == {"hidden", "classifier"}
    stored = [numpy_helper.to_array(weight) for weight in model.graph.initializer]
    assert sum(weight.dtype == np.int8 and weight.ndim == 2 for weight in stored) == 2
    assert [node.op_type for node in model.graph.node].count("DynamicQuantizeLinear") == 2


def test_parameters_and_macs_of_the_file_are_those_of_the_float_one() -> None:
    found, plain = read_costs(emit(dynamic("hidden"), HEADER)), read_costs(emit(fold_batch_norm(network()), HEADER))
    assert (found.parameters, found.macs) == (plain.parameters, plain.macs)
    assert found.parameters == 2 * 4 * 9 + 4 + 16 * 8 + 8 + 8 * 3 + 3


def test_beside_onnx_runtime_s_own_tool(tmp_path: Path) -> None:
    """Of the same float file: logits as close to the float network's."""
    file, theirs = tmp_path / "float.onnx", tmp_path / "theirs.onnx"
    onnx.save(emit(fold_batch_norm(network()), HEADER), file)
    quantize_dynamic(file, theirs, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
    exact = network()(images()).detach().numpy()
    own = dynamic("hidden", "classifier")(images()).detach().numpy()
    assert np.abs(own - exact).max() < 2 * np.abs(Runner(theirs, CPU).predict(images().numpy()) - exact).max() + 1e-3


@pytest.mark.parametrize(
    ("layer", "fmt", "message"),
    [
        ("conv", "int8", r"cannot quantize dynamically Conv2d \(conv\), supported: Linear"),
        ("hidden", "int4", "step dynamic: expected fp32 or int8 for hidden, got int4"),
    ],
)
def test_what_is_no_linear_layer_of_int8_is_refused_by_name(layer: str, fmt: str, message: str) -> None:
    with pytest.raises((Unsupported, ValueError), match=message):
        dynamic(layer, fmt=fmt)


def test_factors_of_a_layer_are_quantized_as_the_whole() -> None:
    class Factored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Sequential(nn.Linear(32, 2, bias=False), nn.Linear(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(torch.flatten(x, 1))

    plan = CompressionPlan(formats={"classifier": "int8"}, steps={"dynamic": {"network": True}})
    found = compress(Factored().eval(), plan, Options(), [images()])
    factors = [found.get_submodule(f"classifier.{number}") for number in (0, 1)]
    assert all(isinstance(factor, DynamicLinear) for factor in factors)
    assert float(factors[0].bias.abs().sum()) == 0


def test_what_the_table_does_not_know_is_not_exported_without_its_integers() -> None:
    unknown = network()
    unknown.relu = nn.Softplus()
    plan = CompressionPlan(formats={"classifier": "int8"}, steps={"dynamic": {"network": True}})
    with pytest.raises(UnknownOperation, match="relu: no ONNX rule for module Softplus"):
        ONNXRUNTIME.emit(compress(unknown, plan, Options(), [images()]), HEADER)
