"""Files: what the runtime computes from them is what the torch network computes."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, fx, nn

from compressors.batch_norm import estimate_batch_norm
from compressors.folding import fold_batch_norm
from compressors.formats import BITS, FORMATS, ActivationScheme, Format, WeightFormat, integer_codes
from compressors.plan import CompressionPlan
from compressors.pruning import prune, weight_norm
from compressors.quantization import PackedWeight, QuantizedConv2d, QuantizedLinear, calibrate, prepare
from compressors.quantization.roundings import ROUNDINGS, Grid, Rounding
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.data import Images
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit, emit_or_export, export_with_torch
from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.onnx.weights import STORES, store_planes
from nas.runtimes.onnx.writer import UnknownOperation, Writer
from nas.runtimes.onnxruntime import Array, Runner
from nas.study import Compression, Target
from nas.training.augmentation import Feed
from nas.training.inference import CalibrationBatches
from search_spaces.architecture import (
    Architecture,
    HeadConfig,
    StageConfig,
    StemConfig,
)
from search_spaces.block_configs import Activation, InvertedResidualConfig
from search_spaces.network import build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

CPU = Target(name="cpu")
CLASSES = tuple("abcdefghij")
LOW_BITS: tuple[WeightFormat, ...] = ("int6", "int5", "int4", "int3", "int2")
MIXES: tuple[tuple[WeightFormat, ...], ...] = (("int8",), ("int4",), ("fp32", "int8", "int4"), LOW_BITS)


def random_candidate(seed: int, *formats: WeightFormat) -> Candidate:
    compression = Compression(
        pruning_ratio=(0.0, 0.5), weight_format=formats, granularity="layer", edges_below_int8=True
    )
    space = MobileSpace.model_validate({"preset": "8px"})
    return sample(Pick(random.Random(seed).choice), space, compression, input_channels=1)


def pruned_network(candidate: Candidate, seed: int) -> nn.Module:
    """With batch norms, biases and a classifier as after training, so that logits differ between images."""
    network = build_network(candidate.architecture, len(CLASSES), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.bias.data.normal_(0, 0.1, generator=generator)
    network.classifier.weight.data.normal_(0, 1, generator=generator)
    prune(network, candidate.architecture.groups(), candidate.plan.kept, importance=weight_norm(2))
    estimate_batch_norm(network, feed(seed))
    return network.eval()


def prepared_network(candidate: Candidate, seed: int) -> fx.GraphModule:
    prepared = prepare(pruned_network(candidate, seed), candidate.plan.formats)
    calibrate(prepared, feed(seed))
    return prepared


def feed(seed: int) -> CalibrationBatches:
    images = Images(pixels(seed, 64), np.zeros(64, np.int64))
    return CalibrationBatches(Feed.of(images, torch.device("cpu"), batch_size=64, seed=0))


def pixels(seed: int, count: int) -> Array:
    """Slopes of random brightness and direction with some noise: images that differ when averaged, too."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:8, 0:8] / 7
    by_row, by_column, level = generator.uniform(-0.5, 0.5, (3, count, 1, 1))
    value = 0.5 + by_row * rows + by_column * columns + level + generator.normal(0, 0.1, (count, 8, 8))
    codes: Array = (value.clip(0, 1) * 255).round().astype(np.uint8)[:, None]
    return codes


def image(seed: int, count: int = 64) -> Array:
    return pixels(seed, count).astype(np.float32) / np.float32(255)


def header(channels: int = 1) -> FileHeader:
    return FileHeader(channels, 8, CLASSES)


def in_torch(network: nn.Module, x: Array) -> Array:
    with torch.no_grad():
        logits: Array = network(torch.from_numpy(x)).numpy()
    return logits


def in_runtime(model: onnx.ModelProto, x: Array) -> Array:
    return Runner(model.SerializeToString(), CPU).predict(x)


def span(logits: Array) -> float:
    """Of what differs between images: a network that ignored its input would have none."""
    return float(np.ptp(logits, axis=0).max())


# The same numbers as in torch.


@pytest.mark.parametrize("seed", range(6))
def test_a_float_file_computes_what_torch_does(seed: int) -> None:
    network = pruned_network(random_candidate(seed, "fp32"), seed)
    x = image(seed)
    expected = in_torch(network, x)
    assert span(expected) > 0.5
    assert np.allclose(in_runtime(emit(fold_batch_norm(network), header()), x), expected, rtol=0, atol=1e-4)


def one_block(block: InvertedResidualConfig) -> Architecture:
    return Architecture(
        input_size=8,
        input_channels=1,
        stem=StemConfig(width=8),
        stages=(StageConfig(width=8, stride=1, blocks=(block,)),),
        head=HeadConfig(width=16),
    )


def steps_apart(network: nn.Module, x: Array) -> Array:
    """By how many steps of an 8-bit grid each logit differs."""
    expected = in_torch(network, x)
    steps: Array = np.abs(in_runtime(emit(network, header()), x) - expected) / span(expected) * 255
    return steps


def within_three_steps(network: nn.Module, x: Array) -> float:
    return float((steps_apart(network, x) <= 3).mean())


@pytest.mark.parametrize("formats", MIXES, ids="-".join)
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish"])
def test_a_quantized_block_computes_what_torch_does(
    activation: Activation, squeeze: bool, formats: tuple[WeightFormat, ...]
) -> None:
    """On images the ranges were not set from. Few layers: no rounding is amplified, so the bound is strict."""
    block = InvertedResidualConfig(kernel=5, expansion=2, squeeze_excite=squeeze, activation=activation)
    architecture = one_block(block)
    names = [layer.name for layer in architecture.layers(len(CLASSES))]
    plan = CompressionPlan(formats=dict(zip(names, itertools.cycle(formats), strict=False)))
    network = prepared_network(Candidate(architecture=architecture, plan=plan), 0)
    # Logits of 2-bit weights span little, so that one rounding at a tie is more of their steps.
    assert within_three_steps(network, image(100, 256)) >= (0.995 if formats is LOW_BITS else 0.999)


@pytest.mark.parametrize("formats", MIXES, ids="-".join)
@pytest.mark.parametrize("seed", range(3))
def test_a_quantized_file_computes_what_torch_does(seed: int, formats: tuple[WeightFormat, ...]) -> None:
    """Some twenty layers of random weights turn a tie in the first one into several steps in the last."""
    network = prepared_network(random_candidate(seed, *formats), seed)
    assert float(steps_apart(network, image(seed + 100, 256)).mean()) < 2


@pytest.mark.parametrize("name", ["stage1.block1.expand", "stage1.block1.depthwise", "stage1.block1.project"])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_float_layer_between_integer_ones_stays_float(name: str, activation: Activation, tmp_path: Path) -> None:
    """ONNX Runtime would take float weights there for an oversight and round them to 8 bits."""
    architecture = one_block(InvertedResidualConfig(kernel=3, expansion=2, activation=activation))
    names = [layer.name for layer in architecture.layers(len(CLASSES))]
    plan = CompressionPlan(formats=dict.fromkeys(names, "int8") | {name: "fp32"})
    network = prepared_network(Candidate(architecture=architecture, plan=plan), 0)
    optimized = tmp_path / "optimized.onnx"
    Runner(emit(network, header()).SerializeToString(), CPU, optimized=optimized)
    ran = [node.op_type for node in onnx.load(optimized).graph.node]
    assert (ran.count("Conv") + ran.count("FusedConv"), ran.count("QLinearConv")) == (1, 4)
    assert "LeakyRelu" not in ran, "what keeps it float costs nothing: it fuses with the layer"
    assert within_three_steps(network, image(100, 256)) >= 0.999


def test_a_relu6_whose_range_goes_beyond_six_stays_in_the_file() -> None:
    """Only a grid that ends at six saturates there by itself."""
    architecture = one_block(InvertedResidualConfig(kernel=3, expansion=2, activation="relu6"))
    names = [layer.name for layer in architecture.layers(len(CLASSES))]
    plan = CompressionPlan(formats=dict.fromkeys(names, "int8"))
    network = pruned_network(Candidate(architecture=architecture, plan=plan), 0)
    network.get_submodule("stage1.block1.expand_bn").weight.data *= 20
    prepared = prepare(network, plan.formats)
    calibrate(prepared, feed(0))
    quantizer = prepared.get_submodule("stage1_block1_expand_activation_quantizer")
    assert quantizer.grid()[0] * 255 == pytest.approx(6)
    assert "Clip" not in {node.op_type for node in emit(prepared, header()).graph.node}
    quantizer.scale.fill_(12 / 255)
    assert [node.op_type for node in emit(prepared, header()).graph.node].count("Clip") == 1
    assert within_three_steps(prepared, image(100, 256)) >= 0.999


@pytest.mark.parametrize("fmt", ["int8", "int4"])
def test_a_single_integer_layer_agrees_to_the_last_bits(fmt: WeightFormat) -> None:
    """Nothing between pixels and logits can hide an error in codes, scales or bias: no tolerance for grid steps."""
    network = prepare(Flat(nn.Linear(64, 10)), {"linear": fmt})
    calibrate(network, feed(0))
    x = image(0)
    expected = in_torch(network, x)
    assert np.allclose(in_runtime(emit(network, header()), x), expected, rtol=0, atol=1e-5 * span(expected))


class Flat(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(torch.flatten(x, 1))
        return out


# Fewer bits are fewer bytes.


def stored(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def codes_of(model: onnx.ModelProto, layer: str) -> onnx.TensorProto:
    """The stored weight behind a layer's DequantizeLinear and, below 8 bits, Cast."""
    makers = {node.output[0]: node for node in model.graph.node}
    (node,) = [node for node in model.graph.node if node.name == layer]
    name = node.input[1]
    while name in makers:
        name = makers[name].input[0]
    return stored(model)[name]


def test_four_bits_are_really_packed() -> None:
    coarse, fine = random_candidate(1, "int4"), random_candidate(1, "int8")
    assert coarse.architecture == fine.architecture
    models = [emit(prepared_network(candidate, 1), header()) for candidate in (coarse, fine)]
    small, large = (len(model.SerializeToString()) for model in models)
    weights = sum(layer.weight_count for layer in fine.layers(len(CLASSES)))
    assert large - small > 0.45 * weights
    for layer in coarse.layers(len(CLASSES)):
        four, eight = (codes_of(model, layer.name) for model in models)
        assert (four.data_type, eight.data_type) == (TensorProto.INT4, TensorProto.INT8)
        assert len(four.raw_data) == (layer.weight_count + 1) // 2, layer.name
        assert len(eight.raw_data) == layer.weight_count, layer.name


@pytest.mark.parametrize("formats", MIXES, ids="-".join)
def test_files_are_hardly_larger_than_their_weights(formats: tuple[WeightFormat, ...]) -> None:
    """Names, scales and nodes: some 250 bytes for a float layer, 800 for an integer one."""
    candidate = random_candidate(2, *formats)
    size = len(emit(prepared_network(candidate, 2), header()).SerializeToString())
    packed = candidate.weight_bytes(len(CLASSES))
    scales = sum(8 * layer.out_channels for layer in candidate.layers(len(CLASSES)))
    assert packed < size < packed + scales + 800 * len(candidate.layers(len(CLASSES))) + 1000


@pytest.mark.parametrize("formats", MIXES, ids="-".join)
def test_stored_codes_are_the_packed_weights(formats: tuple[WeightFormat, ...]) -> None:
    network = prepared_network(random_candidate(3, *formats), 3)
    model = emit(network, header())
    layers = {n: m for n, m in network.named_modules() if isinstance(m, QuantizedConv2d | QuantizedLinear)}
    assert layers
    for name, layer in layers.items():
        assert np.array_equal(restored_codes(model, name), layer.packed().codes.numpy()), name


def restored_codes(model: onnx.ModelProto, layer: str) -> Array:
    """What a layer's DequantizeLinear reads, computed by ONNX's reference implementation from what is stored."""
    makers = {node.output[0]: node for node in model.graph.node}
    (node,) = [node for node in model.graph.node if node.name == layer]
    name = makers[node.input[1]].input[0]
    if name not in makers:
        return numpy_helper.to_array(stored(model)[name])
    maker = makers[name]
    weights = [stored(model)[source] for source in maker.input]
    graph = helper.make_graph([maker], "codes", [], [onnx.ValueInfoProto(name=name)], weights)
    own = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
    own.ir_version = model.ir_version
    codes: Array = ReferenceEvaluator(own).run(None, {})[0]
    return codes.astype(np.int8)


@pytest.mark.parametrize("fmt", LOW_BITS)
def test_fewer_bits_are_fewer_bytes(fmt: WeightFormat) -> None:
    """Between two widths of the same network only codes differ, and the function that unpacks them."""
    low, full = random_candidate(1, fmt), random_candidate(1, "int8")
    small, large = (len(emit(prepared_network(c, 1), header()).SerializeToString()) for c in (low, full))
    weights = sum(layer.weight_count for layer in full.layers(len(CLASSES)))
    saved = weights * (8 - BITS[fmt]) // 8
    assert saved * 1.01 > large - small > saved - 60 * len(full.layers(len(CLASSES))) - 1500


# For a runtime that cannot read packed weights.


@pytest.mark.parametrize("unpacked", [("int3",), ("int2", "int3", "int5", "int6"), LOW_BITS])
def test_unpacked_formats_are_stored_as_bytes(unpacked: tuple[str, ...]) -> None:
    network = prepared_network(random_candidate(3, *LOW_BITS), 3)
    packed, model = emit(network, header()), emit(network, header(), Storage(frozenset(unpacked)))
    layers = {n: m for n, m in network.named_modules() if isinstance(m, QuantizedConv2d | QuantizedLinear)}
    assert {module.format.name for module in layers.values()} > set(unpacked[:1])
    for name, layer in layers.items():
        stored_type = codes_of(model, name).data_type
        assert (stored_type == TensorProto.INT8) == (layer.format.name in unpacked), name
        assert np.array_equal(restored_codes(model, name), layer.packed().codes.numpy()), name
    left = {f"Unpack{fmt[3:]}" for fmt in ("int3", "int5", "int6") if fmt not in unpacked}
    assert {function.name for function in model.functions} <= left
    x = image(7)
    assert np.array_equal(in_runtime(packed, x), in_runtime(model, x))


def test_without_int2_a_file_needs_no_newer_opset() -> None:
    network = prepared_network(random_candidate(1, "int2"), 1)
    assert emit(network, header()).opset_import[0].version == 25
    assert emit(network, header(), Storage(frozenset({"int2"}))).opset_import[0].version == 21


# Formats and grids that studies do not offer (yet): rows of tables, no more.


def flat_network(fmt: str, **options: Any) -> fx.GraphModule:
    torch.manual_seed(0)
    network = prepare(Flat(nn.Linear(64, 10)), {"linear": fmt}, **options)
    calibrate(network, feed(0))
    return network


def assert_agrees(network: fx.GraphModule, storage: Storage = SMALLEST) -> onnx.ModelProto:
    model, x = emit(network, header(), storage), image(0)
    expected = in_torch(network, x)
    assert np.allclose(in_runtime(model, x), expected, rtol=0, atol=1e-5 * span(expected))
    return model


@pytest.mark.parametrize("unpacked", [(), ("int7",)])
def test_a_new_width_is_a_row_of_each_table(monkeypatch: pytest.MonkeyPatch, unpacked: tuple[str, ...]) -> None:
    monkeypatch.setitem(FORMATS, "int7", Format("int7", 7, integer_codes(7)))
    monkeypatch.setitem(STORES, "int7", store_planes(7))
    model = assert_agrees(flat_network("int7"), Storage(frozenset(unpacked)))
    assert [function.name for function in model.functions] == ([] if unpacked else ["Unpack7"])
    assert int(np.abs(restored_codes(model, "linear")).max()) > 31


def test_a_new_rounding_is_a_row_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs with one scale per channel, in bit planes of one bit whose codes are -1 and 1."""

    def store_signs(writer: Writer, codes: Array, to: int) -> str:
        assert to == TensorProto.INT8
        bits = writer.constant(codes > 0)
        two, one = writer.scalar(np.int8(2)), writer.scalar(np.int8(1))
        return writer.add("Sub", [writer.add("Mul", [writer.add("Cast", [bits], to=TensorProto.INT8), two]), one])

    def on_grid(weight: Tensor, grid: Grid, _: range) -> Tensor:
        values = torch.where(weight >= 0, 1.0, -1.0) * grid.steps[:, None]
        return values.detach() + (weight - weight.detach())  # exactly the values

    signs = Rounding(
        fit=lambda weight, _: Grid(weight.detach().abs().flatten(1).mean(1)),
        to_codes=lambda weight, *_: torch.where(weight >= 0, 1.0, -1.0),
        on_grid=on_grid,
    )
    monkeypatch.setitem(FORMATS, "sign", Format("sign", 1, range(-1, 2, 2), "sign"))
    monkeypatch.setitem(ROUNDINGS, "sign", signs)
    monkeypatch.setitem(STORES, "sign", store_signs)
    network = flat_network("sign")
    weight = network.get_submodule("linear").quantized()[0].detach()
    assert all(len(row.unique()) == 2 for row in weight)
    network.train()(torch.from_numpy(image(0))).sum().backward()
    assert network.get_submodule("linear").layer.weight.grad is not None
    assert_agrees(network.eval())
    assert_agrees(network, Storage(frozenset({"sign"})))


def with_packed(network: fx.GraphModule, packed: PackedWeight, monkeypatch: pytest.MonkeyPatch) -> fx.GraphModule:
    """The network, its linear layer packed otherwise than its module does."""
    monkeypatch.setattr(QuantizedLinear, "packed", lambda _: packed)
    return network


def logits_by_hand(packed: PackedWeight, network: fx.GraphModule) -> Array:
    """What PackedWeight's own words say a layer computes."""
    entries = packed.codes.long() if packed.codebook is None else packed.codebook.long()[packed.codes.long()]
    shift = 0 if packed.zero_points is None else packed.zero_points.long()[:, None]
    weight = (entries - shift).double() * packed.scales.double()[:, None]
    bias = packed.bias_codes.double() * packed.input_scale * packed.scales.double()
    quantizer = network.get_submodule("flatten_quantizer")
    x = quantizer(torch.from_numpy(image(0)).flatten(1)).detach().double()
    logits: Array = (x @ weight.T + bias).numpy()
    return logits


@pytest.mark.parametrize("unpacked", [(), ("int3",)])
@pytest.mark.parametrize("has_codebook", [False, True])
@pytest.mark.parametrize("has_zero_points", [False, True])
def test_codebooks_and_zero_points_are_stored(
    monkeypatch: pytest.MonkeyPatch, has_zero_points: bool, has_codebook: bool, unpacked: tuple[str, ...]
) -> None:
    network = flat_network("int3")
    packed = network.get_submodule("linear").packed()
    if has_zero_points:
        packed = replace(packed, zero_points=torch.arange(-5, 5, dtype=torch.int8))
    if has_codebook:
        codes = torch.randint(0, 4, packed.codes.shape, generator=torch.Generator().manual_seed(0), dtype=torch.int8)
        packed = replace(packed, codes=codes, codebook=torch.tensor([-90, -7, 20, 101], dtype=torch.int8))
    expected = logits_by_hand(packed, network)
    model = emit(with_packed(network, packed, monkeypatch), header(), Storage(frozenset(unpacked)))
    assert np.allclose(in_runtime(model, image(0)), expected, rtol=0, atol=1e-5 * span(expected))
    assert ("Gather" in {node.op_type for node in model.graph.node}) == (has_codebook and not unpacked)


def test_a_format_without_a_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "int7", Format("int7", 7, integer_codes(7)))
    with pytest.raises(UnknownOperation, match="linear: no ONNX rule for weights of format int7, only int8, int6"):
        emit(flat_network("int7"), header())


@pytest.mark.parametrize("scheme", [ActivationScheme(signed=True), ActivationScheme(signed=True, symmetric=True)])
@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish"])
def test_signed_activations_compute_what_torch_does(activation: Activation, scheme: ActivationScheme) -> None:
    architecture = one_block(InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True, activation=activation))
    names = [layer.name for layer in architecture.layers(len(CLASSES))]
    plan = CompressionPlan(formats=dict.fromkeys(names, "int8"))
    network = prepare(pruned_network(Candidate(architecture=architecture, plan=plan), 0), plan.formats, scheme=scheme)
    calibrate(network, feed(0))
    zero_points = [
        numpy_helper.to_array(t) for t in emit(network, header()).graph.initializer if t.name.startswith("c")
    ]
    assert not any(array.dtype == np.uint8 and array.ndim == 0 for array in zero_points)
    assert within_three_steps(network, image(100, 256)) >= 0.995


def test_narrow_activations_are_simulated_only() -> None:
    network = flat_network("int8", scheme=ActivationScheme(bits=4))
    with pytest.raises(UnknownOperation, match="no ONNX rule for activations of 4 bits, only of 8"):
        emit(network, header())


# What a file says about itself.


@pytest.fixture(scope="module", params=MIXES, ids="-".join)
def file(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return emit(prepared_network(random_candidate(4, *request.param), 4), header())


def test_batches_of_any_size(file: onnx.ModelProto) -> None:
    runner = Runner(file.SerializeToString(), CPU)
    five = runner.predict(image(0, 5))
    assert five.shape == (5, len(CLASSES))
    ones = np.concatenate([runner.predict(part[None]) for part in image(0, 5)])
    assert np.allclose(ones, five, rtol=0, atol=1e-5 * span(five))


def test_input_output_and_metadata(file: onnx.ModelProto) -> None:
    (given_,), (out,) = file.graph.input, file.graph.output
    assert (given_.name, out.name) == ("image", "logits")
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (given_, out)]
    assert dims == [["N", 1, 8, 8], ["N", 10]]
    assert {v.type.tensor_type.elem_type for v in (given_, out)} == {TensorProto.FLOAT}
    properties = {p.key: p.value for p in file.metadata_props}
    assert properties == {"class_names": json.dumps(list(CLASSES)), "input_size": "8", "input_range": "[0, 1]"}
    assert file.producer_name == "compact-nas"
    narrow = TensorProto.INT2 in {weight.data_type for weight in file.graph.initializer}
    assert file.opset_import[0].version == (25 if narrow else 21), "the oldest version that knows what is stored"
    assert [opset.domain for opset in file.opset_import] == ([""] if not file.functions else ["", FUNCTIONS])


def described(model: onnx.ModelProto) -> Iterator[onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto]:
    graph = model.graph
    yield from (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info)


def assert_bare(model: onnx.ModelProto) -> None:
    assert not model.graph.metadata_props
    assert not any(item.metadata_props or item.doc_string for item in described(model))


def test_no_stack_traces(file: onnx.ModelProto) -> None:
    assert_bare(file)


def test_every_layer_is_a_node_of_its_name(file: onnx.ModelProto) -> None:
    names = [node.name for node in file.graph.node if node.op_type in ("Conv", "Gemm")]
    architecture = random_candidate(4, "int8").architecture
    assert names == [layer.name for layer in architecture.layers(len(CLASSES))]


def test_emitting_changes_nothing() -> None:
    network = prepared_network(random_candidate(0, "int8", "int4"), 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (emit(network, header()).SerializeToString() for _ in range(2))
    assert first == second
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_layer_and_an_activation_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.linear = nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.linear(torch.flatten(self.relu(self.conv(self.relu(self.conv(x)))), 1))
            return out

    network = Twice().eval()
    model = emit(fold_batch_norm(network), header())
    assert sorted(stored(model)) == ["conv.bias", "conv.weight", "linear.bias", "linear.weight"]
    assert np.allclose(in_runtime(model, image(0)), in_torch(network, image(0)), atol=1e-5)


# What the table does not know.


class Foreign(nn.Module):
    """Layers this project has no row for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.gate, self.pool, self.linear = nn.Softplus(), nn.MaxPool2d(2), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(torch.flatten(self.pool(self.gate(self.norm(self.conv(x)))), 1))
        return out


class OneLayer(nn.Module):
    """Convolution, then something, then the logits."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv, self.linear = conv, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(torch.flatten(self.conv(x), 1))
        return out


class Scaled(OneLayer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Viewed(OneLayer):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.conv(x).reshape(-1, 64))
        return out


class Tangent(OneLayer):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(super().forward(x))


class Offset(OneLayer):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.offset = nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset


class Early(OneLayer):
    """Something is computed after the output."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.conv(x)
        return out


class Aside(OneLayer):
    """A second result."""

    def forward(self, x: Tensor) -> Any:
        out = self.conv(x)
        return out, self.linear(torch.flatten(out, 1))


class TwoInputs(OneLayer):
    def forward(self, x: Tensor, offset: float = 0.0) -> Tensor:
        return super().forward(x + offset)


class Overwritten(OneLayer):
    """The activation changes the tensor that the sum reads."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        summed: Tensor = self.linear(torch.flatten(self.relu(out) + out, 1))
        return summed


class OverwrittenView(Overwritten):
    """The activation changes a view of the tensor that the sum reads."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        flat = self.relu(torch.flatten(out, 1))
        summed: Tensor = self.linear(torch.flatten(out, 1) + flat)
        return summed


def hooked(network: nn.Module) -> nn.Module:
    network.linear.register_forward_hook(lambda _, __, out: out * 2)
    return network


def capped() -> nn.Module:
    clamp = nn.ReLU6()
    clamp.max_val = 0.25
    return nn.Sequential(SAME, clamp)


def padded_by_hand(conv: nn.Conv2d) -> nn.Conv2d:
    conv.padding = 1
    return conv


class Pooled(nn.Module):
    """Max pooling between two convolutions, as in LeNet."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.first, self.pool, self.second = nn.Conv2d(1, 6, 3), pool, nn.Conv2d(6, 4, 2)
        self.relu, self.mean, self.linear = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mean(self.relu(self.second(self.pool(self.first(x)))))
        return self.linear(torch.flatten(x, 1))


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0)),
    nn.MaxPool2d(2, dilation=2, stride=1),
    nn.MaxPool2d(3, stride=2, ceil_mode=True),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("fmt", ["fp32", "int8"])
def test_max_pooling_takes_codes_where_they_are(pool: nn.MaxPool2d, fmt: str) -> None:
    torch.manual_seed(0)
    network = prepare(Pooled(pool).eval(), dict.fromkeys(("first", "second", "linear"), fmt))
    x = image(0)
    if fmt == "int8":
        calibrate(network, [torch.from_numpy(x)])
        grids = [network.get_submodule(name).grid() for name in ("first_quantizer", "pool_quantizer")]
        assert grids[0] == grids[1]
    expected = in_torch(network, x)
    assert span(expected) > 0.01
    step = max((module.grid()[0] for module in network.modules() if hasattr(module, "grid")), default=1e-5)
    assert np.abs(in_runtime(emit(network, header()), x) - expected).max() < step


class Shifted(nn.ReLU):
    is_traced_as_leaf = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


SAME = nn.Conv2d(1, 1, 3, padding=1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Foreign(), "gate: no ONNX rule for module Softplus"),
        (Scaled(SAME), "mul: no ONNX rule for Mul with a constant"),
        (Viewed(SAME), "no ONNX rule for call_method reshape"),
        (Tangent(SAME), "tanh: no ONNX rule for"),
        (Offset(SAME), "no ONNX rule for get_attr offset"),
        (Early(SAME), "output is not its last operation"),
        (OneLayer(padded_by_hand(nn.Conv2d(1, 1, 3))), "no ONNX rule for padding 1 with zeros"),
        (OneLayer(nn.Conv2d(1, 1, 3, padding="same")), "no ONNX rule for padding 'same'"),
        (OneLayer(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), "no ONNX rule for padding .* circular"),
        (nn.Sequential(SAME, nn.AvgPool2d(2, divisor_override=3)), "1: no ONNX rule for average pooling with a div"),
        (nn.Sequential(SAME, nn.AdaptiveAvgPool2d((1, None))), "1: no ONNX rule for adaptive pooling to"),
        (nn.Sequential(SAME, nn.MaxPool2d(2, return_indices=True)), "1: no ONNX rule for max pooling that returns"),
        (nn.Sequential(SAME, nn.Linear(8, 10)), "1: no ONNX rule for a linear layer on a tensor of 4"),
        (nn.Sequential(SAME, Shifted()), "1: no ONNX rule for module Shifted"),
        (nn.Sequential(SAME, nn.Flatten()), "1: no ONNX rule for module Flatten"),
        (capped(), "1: no ONNX rule for ReLU6 with 0"),
        (hooked(OneLayer(SAME)), r"no ONNX rule: linear \(Linear\): forward hooks function"),
        (
            OneLayer(nn.Conv2d(1, 1, 3, padding=1)).double(),
            "conv: no ONNX rule for weight of dtype torch.float64",
        ),
        (Aside(SAME), "no ONNX rule for several outputs"),
        (TwoInputs(SAME), "offset: no ONNX rule for a second input"),
        (OverwrittenView(SAME), "relu: no ONNX rule for inplace True where other operations read the same tensor"),
        (Overwritten(SAME), "relu: no ONNX rule for inplace True where other operations read the same tensor"),
    ],
)
def test_unknown_operations_are_named(network: nn.Module, message: str) -> None:
    with pytest.raises(UnknownOperation, match=message):
        emit(fold_batch_norm(network), header())


class Doubled(nn.Module):
    """Reads one tensor twice in one operation."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv, self.linear = (
            how,
            nn.Conv2d(1, 1, 3, padding=1),
            nn.Linear(128 if how == "cat" else 64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        both = {"cat": lambda: torch.cat([x, x], 1), "add": lambda: x + x, "mul": lambda: x * x}[self.how]()
        out: Tensor = self.linear(torch.flatten(both, 1))
        return out


@pytest.mark.parametrize("how", ["cat", "add", "mul"])
@pytest.mark.parametrize("formats", [{}, {"conv": "int8", "linear": "int8"}])
def test_one_tensor_may_be_read_twice(how: str, formats: dict[str, str]) -> None:
    network = prepare(Doubled(how).eval(), formats)
    calibrate(network, feed(0))
    assert float(steps_apart(network, image(0)).max()) <= (1.01 if formats else 0.01)


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Conv2d(1, 1, 3, padding="same")]
)
def test_float_layers_the_table_refuses_are_computed_right(conv: nn.Conv2d) -> None:
    network = OneLayer(conv).eval()
    found = in_runtime(emit_or_export(network, header()), image(0))
    assert np.allclose(found, in_torch(network, image(0)), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_folded_goes_through_torchs_exporter() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.BatchNorm1d(10)).eval()
    found = in_runtime(emit_or_export(network, header()), image(0))
    assert np.allclose(found, in_torch(network, image(0)), rtol=1e-4, atol=1e-5)


def test_unknown_operations_go_through_torchs_exporter() -> None:
    network = Foreign().eval()
    model = emit_or_export(network, header())
    assert {"Softplus", "MaxPool"} <= {node.op_type for node in model.graph.node}
    expected = in_torch(network, image(0, 5))
    assert np.allclose(in_runtime(model, image(0, 5)), expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(in_runtime(model, image(0, 5)[:1]), expected[:1], rtol=1e-4, atol=1e-5)
    assert_bare(model)
    assert b"pkg.torch" not in model.SerializeToString()
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["image", "logits"]
    assert read_costs(model).parameters == 4 * 9 + 4 + 64 * 10 + 10


def test_known_operations_do_not_go_through_torchs_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.runtimes.onnx.emission.export_with_torch", None)
    network = pruned_network(random_candidate(0, "fp32"), 0)
    folded = fold_batch_norm(network)
    assert emit_or_export(network, header()) == emit_or_export(folded, header()) == emit(folded, header())


def test_the_table_and_torchs_exporter_agree() -> None:
    candidate = random_candidate(5, "fp32")
    folded = fold_batch_norm(pruned_network(candidate, 5))
    ours, theirs = emit(folded, header()), export_with_torch(folded, header())
    assert np.allclose(in_runtime(ours, image(5)), in_runtime(theirs, image(5)), rtol=1e-4, atol=1e-4)
    assert read_costs(ours).parameters == read_costs(theirs).parameters == candidate.parameters(len(CLASSES))
    assert read_costs(ours).macs == read_costs(theirs).macs == candidate.macs(len(CLASSES))
