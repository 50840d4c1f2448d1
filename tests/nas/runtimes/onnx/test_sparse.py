"""Masked weights in a file: stored as masks and what they keep, restored exactly, run on the same kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CPU
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.formats import BITS
from compressors.masking.layers import mask_of, set_mask
from compressors.masking.numerics import kept_mask
from compressors.pipeline import Options
from compressors.quantization import calibrate, prepare
from compressors.quantization.dynamic import DYNAMIC
from compressors.quantization.modules import QuantizedLayer
from compressors.requests.quantized import QuantizeDynamically
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.onnx.sparse import OVERHEAD_BYTES, UNMASK, is_smaller, unmask_function
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.onnx.zeros import count_zeros
from nas.runtimes.onnxruntime import Runner, integer_layers
from nas.runtimes.openvino import OPENVINO
from nas.runtimes.runtime import FileHeader

torch.set_num_threads(1)

DENSE = Storage(is_dense=True)
HEADER = FileHeader(3, 8, tuple("abcdefghij"))
LAYERS = ("0", "3", "6", "11")
FORMATS = ("fp32", "int8", "int6", "int5", "int4", "int3", "int2", "pow2", "ternary", "codebook4")


def masked(share: float = 0.75) -> nn.Module:
    """Two convolutions, a depthwise one and a linear layer; the first is too small to be worth a mask."""
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 80, 3, padding=1, bias=False), nn.BatchNorm2d(80), nn.ReLU(),
        nn.Conv2d(80, 80, 5, padding=2, groups=80, bias=False), nn.BatchNorm2d(80), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(80, 10),
    )  # fmt: skip
    for name in LAYERS:
        layer = found.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        set_mask(layer, kept_mask(layer.weight.detach().abs(), round(share * layer.weight.numel())))
    return found.eval()


class Flatten(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(x, 1)


def shipped(fmt: str, share: float = 0.75) -> fx.GraphModule:
    if fmt == "fp32":
        return fold_batch_norm(masked(share))
    network = prepare(masked(share), dict.fromkeys(LAYERS, fmt))
    calibrate(network, [images()])
    return network.eval()


def images() -> torch.Tensor:
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def stored(model: onnx.ModelProto) -> dict[str, tuple[int, np.ndarray[Any, Any]]]:
    """Layer -> the number of values that the file stores of its weight, and the mask beside them, unpacked."""
    values = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    found = {}
    for node in model.graph.node:
        source = makers.get(node.input[1]) if node.name else None
        while source is not None and source.op_type != UNMASK:
            source = makers.get(source.input[0])
        if source is not None:
            shape = values[source.input[2]]
            bits = np.unpackbits(values[source.input[0]])[: shape.prod()].reshape(shape).astype(bool)
            found[node.name] = (_length(source.input[1], makers, values), bits)
    return found


def _length(name: str, makers: Any, values: Any) -> int:
    while name not in values:
        node = makers[name]
        if node.domain == FUNCTIONS:
            return int(values[node.input[-1]].prod())
        name = node.input[1 if node.op_type == "Gather" else 0]  # a codebook's indices
    return int(values[name].size)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_file_holds_the_mask_and_what_it_keeps(fmt: str, tmp_path: Path) -> None:
    network = shipped(fmt)
    sparse, dense = emit(network, HEADER), emit(network, HEADER, DENSE)
    kept = {name: network.get_submodule(name) for name in LAYERS}
    kept = {name: layer.layer if isinstance(layer, QuantizedLayer) else layer for name, layer in kept.items()}
    found = stored(sparse)
    worth = [n for n in LAYERS if is_smaller(kept[n].weight.numel(), int(mask_of(kept[n]).sum()), BITS[fmt])]
    assert list(found) == [name for name in worth if len(sparse.functions)]
    for name, (count, bits) in found.items():
        assert np.array_equal(bits, mask_of(kept[name]).numpy())
        assert count == bits.sum() == bits.size - round(0.75 * bits.size)
    assert stored(dense) == {}
    assert sparse.ByteSize() <= dense.ByteSize()
    assert bool(found) == (sparse.ByteSize() < dense.ByteSize()) == (fmt not in ("int2", "ternary"))


@pytest.mark.parametrize("fmt", FORMATS)
def test_it_computes_what_torch_does_on_the_same_kernels(fmt: str, tmp_path: Path) -> None:
    network = shipped(fmt)
    answers, integers = [], []
    for number, storage in enumerate((SMALLEST, DENSE)):
        file = tmp_path / f"{number}.onnx"
        onnx.save(emit(network, HEADER, storage), file)
        answers.append(Runner(file, CPU).predict(images().numpy()))
        integers.append(integer_layers(file, CPU))
    assert np.array_equal(*answers)
    np.testing.assert_allclose(answers[0], network(images()).detach().numpy(), atol=1e-4)
    assert integers[0] == integers[1] == frozenset(LAYERS if fmt != "fp32" else ())


@pytest.mark.parametrize("fmt", ["fp32", "int8", "int3"])
def test_costs_are_those_of_the_dense_file_and_zeros_are_counted_in_both(fmt: str) -> None:
    network = shipped(fmt)
    sparse, dense = emit(network, HEADER), emit(network, HEADER, DENSE)
    assert read_costs(sparse) == read_costs(dense)
    layers = {name: network.get_submodule(name) for name in LAYERS}
    weights = {
        name: layer.quantized()[0] if isinstance(layer, QuantizedLayer) else layer.weight
        for name, layer in layers.items()
    }
    found = count_zeros(sparse)
    assert found == count_zeros(dense)
    for name, weight in weights.items():
        assert found.layers[name] == pytest.approx(float((weight == 0).float().mean()))
        assert found.layers[name] >= 0.75 - 0.5 / weight.numel()
    biases = (layer.quantized()[1] if isinstance(layer, QuantizedLayer) else layer.bias for layer in layers.values())
    assert found.nonzero_parameters == sum(int(t.count_nonzero()) for t in (*weights.values(), *biases))


@pytest.mark.parametrize("storage", [SMALLEST, DENSE, Storage(frozenset({"binary"}), is_dense=True)])
def test_a_format_without_zero_has_it_by_its_mask(storage: Storage, tmp_path: Path) -> None:
    """Of two values and zero: with the mask stored always, or as int8 codes."""
    network = shipped("binary")
    onnx.save(model := emit(network, HEADER, storage), tmp_path / "model.onnx")
    assert (list(stored(model)) == list(LAYERS)) == (storage is SMALLEST)
    shares = count_zeros(model).layers
    assert all(shares[name] == pytest.approx(0.75, abs=0.02) for name in LAYERS)
    assert np.unique(network.get_submodule("3").quantized()[0][0].detach().numpy()).size == 3
    found = Runner(tmp_path / "model.onnx", CPU).predict(images().numpy())
    np.testing.assert_allclose(found, network(images()).detach().numpy(), atol=1e-4)


def test_zero_points_per_channel_keep_their_zeros_in_a_dense_file(tmp_path: Path) -> None:
    network = shipped("int8_asymmetric")
    onnx.save(model := emit(network, HEADER), tmp_path / "model.onnx")
    assert stored(model) == {}
    assert all(count_zeros(model).layers[name] >= 0.74 for name in LAYERS)
    found = Runner(tmp_path / "model.onnx", CPU).predict(images().numpy())
    np.testing.assert_allclose(found, network(images()).detach().numpy(), atol=1e-4)


def test_a_layer_quantized_as_it_runs_is_stored_by_its_mask(tmp_path: Path) -> None:
    """And fused to the same kernel."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 300))
    network.append(nn.ReLU()).append(nn.Linear(300, 10))
    layer = network[4]
    assert isinstance(layer, nn.Linear)
    set_mask(layer, kept_mask(layer.weight.detach().abs(), 10_000))
    found = DYNAMIC.apply(network.eval(), QuantizeDynamically({"4": "int8"}), Options())
    assert isinstance(found, fx.GraphModule)
    sparse, dense = emit(found, HEADER), emit(found, HEADER, DENSE)
    assert dense.ByteSize() - sparse.ByteSize() > 10_000 - 1_500 - 1_000
    assert count_zeros(sparse) == count_zeros(dense)
    onnx.save(sparse, tmp_path / "model.onnx")
    assert integer_layers(tmp_path / "model.onnx", CPU) == {"4"}
    answers = Runner(tmp_path / "model.onnx", CPU).predict(images().numpy())
    np.testing.assert_allclose(answers, found(images()).detach().numpy(), atol=1e-3)


def test_a_masked_layer_that_runs_twice_is_stored_and_counted_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = nn.Conv2d(40, 40, 3, padding=1)
    set_mask(shared, kept_mask(shared.weight.detach().abs(), 12_000))
    network = nn.Sequential(nn.Conv2d(3, 40, 1), shared, nn.ReLU(), shared, nn.AdaptiveAvgPool2d(1), Flatten())
    network.append(nn.Linear(40, 10))
    onnx.save(model := emit(found := fold_batch_norm(network.eval()), HEADER), tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node].count(UNMASK) == 1
    assert read_costs(model).parameters == sum(parameter.numel() for parameter in network.parameters())
    answers = Runner(tmp_path / "model.onnx", CPU).predict(images().numpy())
    np.testing.assert_allclose(answers, found(images()).detach().numpy(), atol=1e-5)


def test_a_small_network_is_stored_dense_where_the_function_costs_more_than_masks_save() -> None:
    network = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1), nn.AdaptiveAvgPool2d(1), Flatten())
    set_mask(network[0], kept_mask(network[0].weight.detach().abs(), 135))
    assert is_smaller(270, 135, 32)
    model = emit(fold_batch_norm(network.eval()), HEADER)
    assert (len(model.functions), count_zeros(model).layers["0"]) == (0, 0.5)


def test_openvino_gets_dense_weights_and_answers_the_same(tmp_path: Path) -> None:
    network = shipped("int8")
    data = OPENVINO.emit(network, HEADER)
    assert len(onnx.load_from_string(data).functions) == 0
    assert len(onnx.load_from_string(OPENVINO.emit(shipped("fp32"), HEADER)).functions) == 0


def test_a_mask_pays_from_a_share_of_zeros_on() -> None:
    """8 bits: one bit of mask for each weight, less 8 for each that goes: beyond an eighth and the overhead."""
    assert not is_smaller(8000, 7000, 8)
    assert not is_smaller(8000, 7000 - OVERHEAD_BYTES, 8)
    assert is_smaller(8000, 7000 - OVERHEAD_BYTES - 1, 8)
    assert not is_smaller(8000, 100, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.sampled_from([np.int8, np.float32]))
@settings(max_examples=40, deadline=None)
def test_any_mask_is_restored(marks: list[bool], kind: type) -> None:
    mask = np.array(marks).reshape(1, -1, 1)
    values = np.arange(1, mask.sum() + 1).astype(kind)
    function = unmask_function(21)
    names, outs = list(function.input), [helper.make_empty_tensor_value_info("dense")]
    graph = helper.make_graph(
        [helper.make_node(UNMASK, names, ["dense"], domain=FUNCTIONS)], "g",
        [helper.make_empty_tensor_value_info(name) for name in names], outs,
    )  # fmt: skip
    domains = [helper.make_opsetid("", 21), helper.make_opsetid(FUNCTIONS, 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=domains)
    given_values = [np.packbits(mask.reshape(-1))[:, None], values, np.array(mask.shape, np.int64)]
    (found,) = ReferenceEvaluator(model).run(None, dict(zip(names, given_values, strict=True)))
    expected = np.zeros(mask.shape, kind)
    expected[mask] = values
    assert found.dtype == kind
    assert np.array_equal(found, expected)
