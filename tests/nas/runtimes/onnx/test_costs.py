"""Costs read off files: against the closed forms of the candidate, a published count, and arithmetic by hand."""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.plan import WeightFormat
from compressors.pruning.channels import prune
from compressors.pruning.importances import weight_norm
from compressors.quantization.insertion import prepare
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.runtimes.onnx.costs import Counts, FileCosts, Uncounted, count, read_costs
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.study import Compression
from search_spaces.network import build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick, first

torch.set_num_threads(1)

CLASSES = tuple("abcdefghij")
FORMATS: tuple[tuple[WeightFormat, ...], ...] = (
    ("fp32",),
    ("int8",),
    ("int4",),
    ("fp32", "int8", "int4"),
    ("int6", "int5", "int3", "int2"),
)


def costs(candidate: Candidate, size: int) -> FileCosts:
    """Of the file of an untrained network: costs do not depend on weights."""
    network = build_network(candidate.architecture, len(CLASSES), seed=0)
    prune(network, candidate.architecture.groups(), candidate.plan.kept, importance=weight_norm(1))
    return read_costs(emit(prepare(network, candidate.plan.formats), FileHeader(1, size, CLASSES)))


@pytest.mark.parametrize("formats", FORMATS, ids="-".join)
@pytest.mark.parametrize("seed", range(4))
def test_costs_of_files_are_the_closed_forms(seed: int, formats: tuple[WeightFormat, ...]) -> None:
    compression = Compression(
        pruning_ratio=(0.0, 0.25, 0.5), weight_format=formats, granularity="layer", edges_below_int8=True
    )
    space = MobileSpace.model_validate({"preset": "8px"})
    candidate = sample(Pick(random.Random(seed).choice), space, compression, input_channels=1)
    found = costs(candidate, 8)
    assert found.parameters == candidate.parameters(len(CLASSES))
    assert found.macs == candidate.macs(len(CLASSES))


@pytest.mark.parametrize(("preset", "size"), [("32px", 32), ("96px", 96)])
def test_costs_of_larger_images(preset: str, size: int) -> None:
    space = MobileSpace.model_validate({"preset": preset})
    candidate = Candidate(architecture=space.sample(Pick(first), input_channels=1))
    found = costs(candidate, size)
    assert found.parameters == candidate.parameters(len(CLASSES))
    assert found.macs == candidate.macs(len(CLASSES))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip, which is a 1x1 convolution where shapes change (arXiv:1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.first_bn = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1)
        self.second_bn = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride) if stride > 1 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.first_bn(self.first(x)))
        skip = x if self.shortcut is None else self.shortcut(x)
        return self.relu(self.second_bn(self.second(out)) + skip)  # type: ignore[no-any-return]


class ResNet8(nn.Module):
    """The image classification network of MLPerf Tiny (arXiv:2106.07597)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU()
        self.blocks = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 32, 2), BasicBlock(32, 64, 2))
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.blocks(self.relu(self.norm(self.conv(x)))))
        out: Tensor = self.linear(torch.flatten(x, 1))
        return out


def test_resnet8_counts_as_published() -> None:
    network = ResNet8().eval()
    trained = sum(p.numel() for p in network.parameters())
    running = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert trained + running == 78_666
    header = FileHeader(3, 32, CLASSES)
    folded = fold_batch_norm(network)
    layers = [name for name, module in folded.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for model in (emit(folded, header), emit(prepare(network, dict.fromkeys(layers, "int8")), header)):
        found = read_costs(model)
        assert found.parameters == 77_706
        assert found.macs == (
            16 * 3 * 9 * 1024 + 2 * 16 * 16 * 9 * 1024  # 32x32
            + (32 * 16 * 9 + 32 * 32 * 9 + 32 * 16) * 256  # 16x16
            + (64 * 32 * 9 + 64 * 64 * 9 + 64 * 32) * 64  # 8x8
            + 640
        )  # fmt: skip


# Peak memory of networks small enough to follow every tensor.


class Three(nn.Module):
    """8x8 pixels -> 4 maps of 8x8 -> 8 maps of 4x4 -> 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.a_relu = nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU()
        self.b, self.b_relu = nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU()
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b_relu(self.b(self.a_relu(self.a(x))))
        out: Tensor = self.linear(torch.flatten(self.pool(x), 1))
        return out


class Skip(nn.Module):
    """8x8 pixels -> 4 maps, kept while two convolutions run, then added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.linear(torch.flatten(self.pool(x + self.b(self.a(x))), 1))
        return out


INT8 = dict.fromkeys(("a", "b", "linear"), "int8")


@pytest.mark.parametrize(
    ("network", "formats", "expected"),
    [
        # Layer b reads 4 x 64 values and writes 8 x 16; a ReLU writes where it reads.
        pytest.param(Three(), {}, 4 * (4 * 64 + 8 * 16), id="float"),
        # The same in bytes: dequantized values are never held.
        pytest.param(Three(), INT8, 4 * 64 + 8 * 16, id="int8"),
        # Layer b reads what a's codes stand for and writes floats.
        pytest.param(Three(), {"a": "int8"}, 4 * (4 * 64 + 8 * 16), id="float behind int8"),
        # Layer a's floats become codes before b reads them.
        pytest.param(Three(), {"b": "int8", "linear": "int8"}, (4 + 1) * 4 * 64, id="int8 behind float"),
        # The sum: two operands and the result.
        pytest.param(Skip(), {}, 4 * 3 * 4 * 64, id="float skip"),
        pytest.param(Skip(), {"stem": "int8", **INT8}, 3 * 4 * 64, id="int8 skip"),
        # Layer a is float between integer ones: the stem's codes are kept beside what they stand for and a's result.
        pytest.param(
            Skip(), {"stem": "int8", "b": "int8"}, 4 * 64 + 4 * (4 + 2) * 64, id="int8 skip around a float layer"
        ),
    ],
)
def test_peak_memory_by_hand(network: nn.Module, formats: dict[str, WeightFormat], expected: int) -> None:
    model = emit(prepare(network.eval(), formats), FileHeader(1, 8, CLASSES))
    assert read_costs(model).peak_memory_bytes == expected


def test_stored_weights_that_a_file_lists_as_inputs_are_none() -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        listed (float[1,2,4,4] image) => (float[1,3,4,4] out)
        <float[3,2,1,1] weight = {1, 2, 3, 4, 5, 6}>
        { out = Conv(image, weight) }
        """
    )
    before = read_costs(model)
    model.graph.input.append(onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, [3, 2, 1, 1]))
    assert read_costs(model) == before == FileCosts(6, 96, 4 * (32 + 48))


def test_reading_costs_leaves_the_model_alone() -> None:
    model = emit(fold_batch_norm(Three().eval()), FileHeader(1, 8, CLASSES))
    before = model.SerializeToString()
    read_costs(model)
    assert model.SerializeToString() == before


# Graphs written by hand.


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {body}')


def test_shared_weights_count_once_and_compute_twice() -> None:
    model = parsed(
        """(float[N,1,4,4] image) => (float[N,1,4,4] logits) <float[1,1,1,1] w = {2.0}, float[1] b = {1.0}>
        { x = Conv(image, w, b)
          logits = Conv(x, w, b) }"""
    )
    assert read_costs(model) == FileCosts(parameters=2, macs=32, peak_memory_bytes=2 * 64)


def test_shapes_that_are_not_known_are_no_zeros() -> None:
    model = parsed(
        """(float[N,1,4,4] image, int64[8] pads) => (float[N,1,A,B] logits) <float[1,1,1,1] w = {2.0}>
        { x = Pad(image, pads)
          logits = Conv(x, w) }"""
    )
    del model.graph.output[0].type.tensor_type.shape.dim[2:]
    for _ in range(2):
        model.graph.output[0].type.tensor_type.shape.dim.add()
    with pytest.raises(Uncounted, match="logits"):
        read_costs(model)


def test_matrix_products() -> None:
    """One with a constant, one of two activations: 2 x 3 by 3 x 4, then 2 x 4 by 4 x 2."""
    model = parsed(
        """(float[N,2,3] image) => (float[N,2,2] logits) <float[3,4] w = {0,0,0,0,0,0,0,0,0,0,0,0}>
        { x = MatMul(image, w)
          y = Transpose<perm = [0, 2, 1]>(x)
          logits = MatMul(x, y) }"""
    )
    found = read_costs(model)
    assert (found.parameters, found.macs) == (12, 2 * 4 * 3 + 2 * 2 * 4)
    assert found.peak_memory_bytes == 4 * (8 + 8 + 4)


def test_constants_on_either_side_of_a_matrix_product() -> None:
    """Two by two of 3 x 4 by 4 x 5 with weights of their own, then one constant 2 x 3 from the left."""
    model = parsed(
        f"""(float[N,2,3,4] image) => (float[N,2,2,5] logits)
        <float[2,4,5] w = {{{",".join("0" * 40)}}}, float[2,3] left = {{0,0,0,0,0,0}}>
        {{ x = MatMul(image, w)
          logits = MatMul(left, x) }}"""
    )
    found = read_costs(model)
    assert (found.parameters, found.macs) == (40 + 6, 2 * 3 * 4 * 5 + 2 * 2 * 3 * 5)


def test_grouped_convolutions() -> None:
    """Each of 4 outputs reads 2 of 4 inputs."""
    zeros = ",".join("0" * 4 * 2 * 9)
    model = parsed(
        f"""(float[N,4,5,5] image) => (float[N,4,3,3] logits) <float[4,2,3,3] w = {{{zeros}}}>
        {{ logits = Conv<group = 2>(image, w) }}"""
    )
    assert read_costs(model) == FileCosts(parameters=72, macs=72 * 9, peak_memory_bytes=4 * (100 + 36))


def test_other_constants_are_no_parameters() -> None:
    model = parsed(
        """(float[N,2] image) => (float[N,2] logits) <float[2] scale = {1, 2}>
        { logits = Mul(image, scale) }"""
    )
    assert read_costs(model) == FileCosts(parameters=0, macs=0, peak_memory_bytes=16)


def test_an_operation_may_write_where_it_reads_only_if_nobody_else_reads() -> None:
    """A Relu of the image, of a value with two readers, and of one of its own."""
    alone = parsed("(float[N,4] image) => (float[N,4] logits) { x = Neg(image) logits = Relu(x) }")
    assert read_costs(alone).peak_memory_bytes == 2 * 16
    image = parsed("(float[N,4] image) => (float[N,4] logits) { logits = Relu(image) }")
    assert read_costs(image).peak_memory_bytes == 2 * 16
    shared = parsed(
        """(float[N,4] image) => (float[N,4] logits)
        { x = Neg(image)
          y = Relu(x)
          logits = Add(x, y) }"""
    )
    assert read_costs(shared).peak_memory_bytes == 3 * 16


QUANTIZED = {
    "QLinearConv": """
        (float[1, 4, 8, 8] image, float one, uint8 zero, int8 none) => (uint8[1, 6, 8, 8] logits)
        <int8[6, 2, 3, 3] weight, int32[6] bias> {
            codes = QuantizeLinear(image, one, zero)
            logits = QLinearConv <group = 2, pads = [1, 1, 1, 1]> (codes, one, zero, weight, one, none, one, zero, bias)
        }""",
    "ConvInteger": """
        (float[1, 4, 8, 8] image, float one, uint8 zero) => (int32[1, 6, 8, 8] logits)
        <int8[6, 2, 3, 3] weight> {
            codes = QuantizeLinear(image, one, zero)
            logits = ConvInteger <group = 2, pads = [1, 1, 1, 1]> (codes, weight)
        }""",
    "MatMulInteger": """
        (float[1, 4] image, float one, uint8 zero) => (int32[1, 6] logits)
        <int8[4, 6] weight> {
            codes = QuantizeLinear(image, one, zero)
            logits = MatMulInteger(codes, weight)
        }""",
    "QLinearMatMul": """
        (float[1, 4] image, float one, uint8 zero, int8 none) => (uint8[1, 6] logits)
        <int8[4, 6] weight> {
            codes = QuantizeLinear(image, one, zero)
            logits = QLinearMatMul(codes, one, zero, weight, one, none, one, zero)
        }""",
    "ConvTranspose": """
        (float[1, 4, 8, 8] image) => (float[1, 6, 16, 16] logits)
        <float[4, 3, 2, 2] weight, float[6] bias> {
            logits = ConvTranspose <group = 2, strides = [2, 2]> (image, weight, bias)
        }""",
}
EXPECTED = {  # parameters, MACs
    "QLinearConv": (6 * 2 * 9 + 6, 64 * 6 * 2 * 9),
    "ConvInteger": (6 * 2 * 9, 64 * 6 * 2 * 9),
    "MatMulInteger": (24, 24),
    "QLinearMatMul": (24, 24),
    "ConvTranspose": (4 * 3 * 4 + 6, 8 * 8 * 4 * 3 * 4),  # every input value meets three outputs at four places
}


@pytest.mark.parametrize("kind", QUANTIZED)
def test_layers_in_the_spelling_of_other_tools(kind: str) -> None:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> other {QUANTIZED[kind].strip()}')
    for value in model.graph.value_info:  # the parser's word for what is declared between < and >
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        zeros = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, value.name))
    found = read_costs(model)
    assert (found.parameters, found.macs) == EXPECTED[kind]


def test_a_value_without_a_rank_cannot_be_counted() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "com.other": 1]>
        other (float[1, 4, 8, 8] image) => (float[1, 4, 8, 8] logits) <float[4, 4, 1, 1] weight> {
            strange = com.other.Strange(image)
            cast = Cast <to = 1> (strange)
            inner = Conv(cast, weight)
            logits = Conv(inner, weight)
        }"""
    with pytest.raises(Uncounted, match="strange"):
        read_costs(onnx.parser.parse_model(text))


# Constants behind constant operations, and figures that a graph does not determine.


def zeros(count: int) -> str:
    return ",".join("0" * count)


BEHIND = {  # the weight [3, 4] of one product, as exporters spell it; the graph's image is [N, 2, 3]
    "Transpose": ("float[4,3] w = {%s}", 12, "v = Transpose<perm = [1, 0]>(w)"),
    "Reshape": ("float[12] w = {%s}, int64[2] s = {3, 4}", 12, "v = Reshape(w, s)"),
    "Reshape with -1": ("float[12] w = {%s}, int64[2] s = {3, -1}", 12, "v = Reshape(w, s)"),
    "Cast": ("float16[3,4] w = {%s}", 12, "v = Cast<to = 1>(w)"),
    "Identity twice": ("float[3,4] w = {%s}", 12, "u = Identity(w) v = Identity(u)"),
    "DequantizeLinear": ("int8[3,4] w = {%s}, float s = {1}", 12, "v = DequantizeLinear(w, s)"),
    "a chain": (
        "int8[1,4,3] w = {%s}, float s = {1}, int64[1] a = {0}", 12,
        "t = DequantizeLinear(w, s) u = Squeeze(t, a) v = Transpose<perm = [1, 0]>(u)",
    ),
    "Unsqueeze, Squeeze": ("float[3,4] w = {%s}, int64[1] a = {0}", 12, "u = Unsqueeze(w, a) v = Squeeze(u, a)"),
    "Slice": (
        "float[9,4] w = {%s}, int64[1] b = {0}, int64[1] e = {3}, int64[1] a = {0}", 36, "v = Slice(w, b, e, a)"
    ),
    "Concat": ("float[1,4] w = {%s}, float[2,4] x = {0,0,0,0,0,0,0,0}", 4, "v = Concat<axis = 0>(w, x)"),
    "Mul": ("float[3,4] w = {%s}, float[1,4] x = {0,0,0,0}", 12, "v = Mul(w, x)"),
    "Expand": ("float[1,4] w = {%s}, int64[2] s = {3, 4}", 4, "v = Expand(w, s)"),
    "Pad": ("float[2,4] w = {%s}, int64[4] p = {1, 0, 0, 0}", 8, "v = Pad(w, p)"),
    "Constant": ("float[1] w = {%s}", 1, f"v = Constant<value = float[3,4] {{{zeros(12)}}}>()"),
    "ConstantOfShape": ("int64[2] w = {3, 4}", 0, "v = ConstantOfShape(w)"),
    "Gemm of constants": ("float[3,2] w = {%s}, float[2,4] x = {0,0,0,0,0,0,0,0}", 6, "v = Gemm(w, x)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEHIND)
def test_a_weight_behind_constant_operations_is_what_the_layer_reads(kind: str) -> None:
    stored, count_stored, nodes = BEHIND[kind]
    stored = stored.replace("%s", zeros(count_stored))
    model = parsed(f"(float[N,2,3] image) => (float[N,2,4] logits) <{stored}> {{ {nodes} logits = MatMul(image, v) }}")
    found = count(model)
    assert (found.parameters, found.macs, found.unknown) == (12, 2 * 3 * 4, ())
    assert found.peak_memory_bytes == 4 * (6 + 8)


def test_one_weight_in_two_spellings_counts_once() -> None:
    model = parsed(
        f"""(float[N,2,3] image) => (float[N,2,3] logits) <float[3,3] w = {{{zeros(9)}}}, int64[2] s = {{3, 3}}>
        {{ t = Transpose<perm = [1, 0]>(w)
          r = Reshape(w, s)
          double = Mul(w, w)
          again = Mul(w, w)
          a = MatMul(image, w)
          b = MatMul(a, t)
          c = MatMul(b, r)
          d = MatMul(c, double)
          logits = MatMul(d, again) }}"""
    )
    assert count(model).parameters == 9 + 9


def test_parts_of_one_stored_value() -> None:
    """Two halves are the whole; a half and the whole, or halves that overlap, are no more than it."""
    ends = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}"
    halves, overlapping, same = ("zero, two", "two, three"), ("zero, two", "one, three"), ("one, two", "one, two")
    for (one, other), expected in ((halves, 9), (overlapping, 9), (same, 3)):
        model = parsed(
            f"""(float[N,2,3] image) => (float[N,2,3] logits) <float[3,3] w = {{{zeros(9)}}}, {ends}>
            {{ p = Slice(w, {one}, zero)
              q = Slice(w, {other}, zero)
              tp = Transpose<perm = [1, 0]>(p)
              tq = Transpose<perm = [1, 0]>(q)
              a = MatMul(image, tp)
              b = MatMul(image, tq)
              logits = Concat<axis = 2>(a, b) }}"""
        )
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        model.graph.output[0].type.tensor_type.ClearField("shape")
        assert count(model).parameters == expected


def test_biases_that_are_added() -> None:
    """To the result of a layer alone, one per channel; any other constant that is added is no bias."""
    model = parsed(
        f"""(float[N,3,4,4] image) => (float[N,2,16] logits)
        <float[2,3,1,1] w = {{{zeros(6)}}}, float[1,2,1,1] b = {{0,0}}, float[16,16] v = {{{zeros(256)}}},
         float[16] c = {{{zeros(16)}}}, float[1,2,16] position = {{{zeros(32)}}}, int64[3] s = {{0, 0, -1}}>
        {{ x = Conv(image, w)
          y = Add(b, x)
          z = Reshape(y, s)
          p = MatMul(z, v)
          q = Add(p, c)
          logits = Add(q, position) }}"""
    )
    assert count(model).parameters == 6 + 2 + 256 + 16


@pytest.mark.parametrize("batch", [1, 4])
def test_figures_are_of_one_image_where_the_file_fixes_a_batch(batch: int) -> None:
    def model(n: int | str) -> onnx.ModelProto:
        return parsed(
            f"""(float[{n},3,4,4] image) => (float[{n},32] logits)
            <float[2,3,3,3] w = {{{zeros(54)}}}, float[32,32] v = {{{zeros(1024)}}},
            int64[2] s = {{{-1 if n == "N" else n}, 32}}>
            {{ x = Conv<pads = [1, 1, 1, 1]>(image, w)
              y = Relu(x)
              z = Reshape(y, s)
              logits = Gemm(z, v) }}"""
        )

    assert count(model(batch)) == count(model("N")) == Counts(54 + 1024, 54 * 16 + 1024, 4 * (48 + 32))


BRANCHES = """
    (float[N,2,3] image, bool yes) => (float[N,2,3] logits) <float[3,3] w = {0,0,0,0,0,0,0,0,0}>
    { logits = If (yes) <
        then_branch = one () => (float[N,2,3] a) { a = MatMul(image, w) },
        else_branch = two () => (float[N,2,3] b) { b = Identity(image) }
      > }"""
WEIGHT = "float[2,2,1,1] w = {0,0,0,0}"
UNKNOWN = {  # a graph, the figures that are unknown, and the words that say why
    "a weight computed from the image": (
        f"""(float[1,2,4,4] image) => (float[1,2,4,4] logits) <{WEIGHT}>
        {{ mean = GlobalAveragePool(image) gated = Mul(w, mean) logits = Conv(image, gated) }}""",
        ("parameters",), "the weight of Conv 'logits' is no constant",
    ),
    "a matrix computed from the image": (
        f"""(float[N,3] image) => (float[N,3] logits) <float[3,3] w = {{{zeros(9)}}}>
        {{ sum = ReduceSum<keepdims = 0>(image) v = Mul(w, sum) logits = MatMul(image, v) }}""",
        ("parameters",), "the weight of MatMul 'logits' is no constant",
    ),
    "a random weight": (
        "(float[N,3] image) => (float[N,3] logits) { v = RandomNormal<shape = [3, 3]>() logits = MatMul(image, v) }",
        ("parameters",), "the weight of MatMul 'logits' is no constant",
    ),
    "layers in a branch": (BRANCHES, ("parameters", "macs", "peak_memory_bytes"), "If 'logits' holds layers"),
    "a recurrent layer": (
        f"""(float[5,1,3] image) => (float[5,1,1,2] logits)
        <float[1,8,3] w = {{{zeros(24)}}}, float[1,8,2] r = {{{zeros(16)}}}>
        {{ logits = LSTM<hidden_size = 2>(image, w, r) }}""",
        ("parameters", "macs"), "LSTM 'logits' is a layer of a kind that is not counted",
    ),
    "Einsum": (
        f"""(float[N,2,3] image) => (float[N,2,4] logits) <float[3,4] w = {{{zeros(12)}}}>
        {{ logits = Einsum<equation = "nij,jk->nik">(image, w) }}""",
        ("parameters", "macs"), "Einsum 'logits' is a layer of a kind that is not counted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_cannot_be_told_is_unknown_and_never_zero(kind: str) -> None:
    body, figures, why = UNKNOWN[kind]
    found = count(parsed(body))
    assert [name for name in ("parameters", "macs", "peak_memory_bytes") if getattr(found, name) is None] == [*figures]
    assert why in " ".join(found.unknown)
    with pytest.raises(Uncounted, match=why):
        read_costs(parsed(body))


def test_an_operation_of_another_domain_with_weights() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
        other (float[1,4] image) => (float[1,4] logits) <float[4,4] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> {
            logits = com.microsoft.FusedMatMul(image, w)
        }"""
    found = count(onnx.parser.parse_model(text))
    assert (found.parameters, found.macs) == (None, None)
    assert "FusedMatMul 'logits' is an operation of com.microsoft, which is not counted" in found.unknown


def test_functions_that_a_file_brings_are_counted() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "mine": 1]>
        g (float[N,2,3] image) => (float[N,2,4] logits) <float[4,3] w = {0,0,0,0,0,0,0,0,0,0,0,0}> {
            logits = mine.Linear(image, w)
        }
        <domain: "mine", opset_import: ["": 21]>
        Linear (x, w) => (y) { t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t) }"""
    assert count(onnx.parser.parse_model(text)) == Counts(12, 24, 4 * (6 + 8))


def test_symbols_in_the_graph_are_no_obstacle() -> None:
    """As torch's exporter leaves them on every value."""
    model = parsed(
        f"""(float[N,2,3] image) => (float[N,M] logits) <float[3,4] w = {{{zeros(12)}}}>
        {{ x = MatMul(image, w)
          logits = Flatten(x) }}"""
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2, "K"]))
    assert count(model) == Counts(12, 24, 4 * (8 + 8))


@pytest.mark.parametrize("batch", ["", "N", "0"])
def test_a_free_batch_is_one_however_it_is_written(batch: str) -> None:
    model = parsed(
        f"""(float[N,3,8,8] image) => (float[N,4,6,6] logits) <float[4,3,3,3] w = {{{zeros(108)}}}>
        {{ logits = Conv(image, w) }}"""
    )
    for value in (model.graph.input[0], model.graph.output[0]):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if batch == "0":
            dim.dim_value = 0
        elif batch:
            dim.dim_param = batch
    assert count(model) == Counts(108, 108 * 36, 4 * (192 + 144))


@pytest.mark.parametrize("side", ["H", "N"])
def test_an_image_of_any_size_has_no_known_costs(side: str) -> None:
    found = count(
        parsed(
            f"""(float[N,3,{side},W] image) => (float[N,4,A,B] logits) <float[4,3,3,3] w = {{{zeros(108)}}}>
            {{ logits = Conv(image, w) }}"""
        )
    )
    assert (found.parameters, found.macs, found.peak_memory_bytes) == (108, None, None)
    assert found.unknown[0].startswith("shapes are not known throughout")
