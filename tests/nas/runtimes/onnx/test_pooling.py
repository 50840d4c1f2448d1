"""Pooling in files: every window that torch has, in floats and between codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from stepwise import CPU, kernels, largest_step
from torch import Tensor, fx, nn
from torch.nn import functional as F

from compressors.folding import fold_batch_norm
from compressors.quantization import calibrate, prepare
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.pooling import missing_behind, windows
from nas.runtimes.onnx.writer import UnknownOperation
from nas.runtimes.onnxruntime import Runner
from nas.runtimes.runtime import FileHeader

torch.set_num_threads(1)

CLASSES = tuple("abcdefghij")
SIZES = (8, 9)  # for windows that fit exactly, and that do not


class Between(nn.Module):
    """Pooling between a convolution and a linear layer."""

    def __init__(self, pool: nn.Module, size: int) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3), pool
        self.linear = nn.Linear(pool(torch.zeros(1, 4, size - 2, size - 2)).numel(), 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(torch.flatten(self.pool(self.conv(x)), 1))
        return logits


COUNTS_BEYOND = nn.AvgPool2d(3, 2, 1, ceil_mode=True)
POOLS = [
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(2, 3, 1, ceil_mode=True),
    nn.MaxPool2d((2, 3), (1, 2), (1, 0), dilation=(2, 1)),
    nn.AvgPool2d(2),
    nn.AvgPool2d((2, 3), (1, 2), (1, 0)),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(3, 2, ceil_mode=True),
    COUNTS_BEYOND,
    nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    nn.AvgPool2d(2, 3, 1, ceil_mode=True),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((1, 1)),
    nn.AdaptiveAvgPool2d(2),
    nn.AdaptiveAvgPool2d((3, 7)),
    nn.AdaptiveAvgPool2d((6, 12)),
]


def network(pool: nn.Module, size: int) -> nn.Module:
    torch.manual_seed(0)
    return Between(pool, size).eval()


def images(size: int) -> Tensor:
    return torch.rand(16, 3, size, size, generator=torch.Generator().manual_seed(1))


def header(size: int) -> FileHeader:
    return FileHeader(3, size, CLASSES)


def quantized(pool: nn.Module, size: int) -> fx.GraphModule:
    prepared = prepare(network(pool, size), {"conv": "int8", "linear": "int8"})
    calibrate(prepared, [images(size)])
    return prepared


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_in_floats(pool: nn.Module, size: int) -> None:
    folded, x = fold_batch_norm(network(pool, size)), images(size)
    found = Runner(emit(folded, header(size)).SerializeToString(), CPU).predict(x.numpy())
    assert np.allclose(found, folded(x).detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_between_codes(pool: nn.Module, size: int) -> None:
    codes, logits = largest_step(quantized(pool, size), header(size), images(size))
    assert codes < 1.01
    assert logits < 1e-5


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_integer_kernels_pool(pool: nn.Module) -> None:
    """All but what makes pixels of padding, which runs on floats."""
    found = kernels(emit(quantized(pool, 8), header(8)))
    assert not {"AveragePool", "GlobalAveragePool"} & set(found)
    assert ("DequantizeLinear" in found) == ("Pad" in found)
    assert ("Pad" in found) == (pool is COUNTS_BEYOND)
    assert {"QLinearConv", "QGemm"} <= set(found)


@given(side=st.integers(1, 12), span=st.integers(1, 6), stride=st.integers(1, 7), padding=st.integers(0, 3))
def test_windows_that_begin_within_the_axis_and_lack_its_end(side: int, span: int, stride: int, padding: int) -> None:
    assume(2 * padding <= span <= side + 2 * padding)
    missing = missing_behind(side, span, stride, padding)
    outputs = F.max_pool1d(torch.zeros(1, 1, side), span, stride, padding, ceil_mode=True).shape[-1]
    assert (side + padding + missing - span) // stride + 1 == outputs
    assert missing == max(0, (outputs - 1) * stride + span - side - padding)


@given(have=st.integers(1, 15), want=st.integers(1, 15))
def test_windows_of_one_size_have_the_means_of_adaptive_pooling(have: int, want: int) -> None:
    values = torch.arange(float(have)).square()
    places, side = windows(have, want)
    assert len(places) == side * want
    means = values[places].reshape(want, side).mean(1)
    assert torch.allclose(means, F.adaptive_avg_pool1d(values[None], want)[0], rtol=1e-5)


@pytest.mark.parametrize(("have", "want"), [(8, 2), (7, 7), (6, 1)])
def test_windows_that_fit_take_each_pixel_once(have: int, want: int) -> None:
    assert windows(have, want) == (list(range(have)), have // want)


def test_a_map_of_one_pixel_is_repeated_exactly() -> None:
    """As VGG's 7x7 from images of 32 pixels: nothing is averaged, and nothing that moves is rounded."""
    places, side = windows(1, 7)
    assert (places, side) == ([0] * 7, 1)
    nodes = [node.op_type for node in emit(fold_batch_norm(network(nn.AdaptiveAvgPool2d(7), 3)), header(3)).graph.node]
    assert nodes.count("Gather") == 2
    assert "AveragePool" not in nodes


def test_pooling_to_what_is_there_is_nothing() -> None:
    model = emit(fold_batch_norm(network(nn.AdaptiveAvgPool2d(6), 8)), header(8))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Flatten", "Gemm"]


def test_pooling_has_no_parameters_and_no_products() -> None:
    pools = [nn.AdaptiveAvgPool2d((3, 7)), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2)]
    for pool in pools:
        found = network(pool, 8)
        costs = read_costs(emit(fold_batch_norm(found), header(8)))
        assert costs.parameters == sum(weight.numel() for weight in found.parameters())
        assert costs.macs == 4 * 3 * 9 * 36 + found.linear.weight.numel()


def test_a_divisor_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(UnknownOperation, match="pool: no ONNX rule for average pooling with a divisor"):
        emit(fold_batch_norm(network(nn.AvgPool2d(2, divisor_override=3), 8)), header(8))


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))], ids=["pool", "relu, pool"]
)
def test_a_float_layer_before_what_is_pooled_and_quantized_stays_float(pool: nn.Module) -> None:
    """ONNX Runtime draws the quantizer through the pooling, and would round the layer's weights to 8 bits."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
    behind = nn.Sequential(pool, nn.Conv2d(4, 6, 2))
    found = nn.Sequential(first, nn.ReLU(), second, behind, nn.AdaptiveAvgPool2d(1)).eval()
    prepared = prepare(found, {"0": "int8", "3.1": "int8"})
    calibrate(prepared, [images(9)])
    assert kernels(emit(prepared, header(9))).count("QLinearConv") == 2
    codes, _ = largest_step(prepared, header(9), images(9))
    assert codes < 1.01
