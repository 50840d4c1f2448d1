"""Activations in files: every one of a blueprint, in floats and between codes of every scheme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stepwise import CPU, kernels, largest_step
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from compressors.formats import UNSIGNED_8, ActivationScheme
from compressors.quantization import calibrate, prepare
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnxruntime import Runner
from nas.runtimes.runtime import FileHeader

torch.set_num_threads(1)

HEADER = FileHeader(3, 6, tuple("abcdefghij"))
ACTIVATIONS = [
    nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.SiLU(), nn.Tanh(), nn.GELU(),
    nn.GELU(approximate="tanh"), nn.ELU(), nn.ELU(0.3), nn.LeakyReLU(), nn.LeakyReLU(0.4),
]  # fmt: skip
ON_CODES = {nn.ReLU: "Relu", nn.ReLU6: "Clip", nn.Sigmoid: "QLinearSigmoid", nn.LeakyReLU: "QLinearLeakyRelu"}


class Between(nn.Module):
    """An activation between two layers; behind a linear one if `flat`."""

    def __init__(self, activation: nn.Module, *, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.first = nn.Linear(108, 12) if flat else nn.Conv2d(3, 4, 3)
        self.activation, self.last = activation, nn.Linear(12 if flat else 64, 10)
        self.first.weight.data.mul_(6)  # into what saturates

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.first(torch.flatten(x, 1) if self.flat else x))
        logits: Tensor = self.last(torch.flatten(x, 1))
        return logits


def network(activation: nn.Module, *, flat: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return Between(activation, flat=flat).eval()


def images() -> Tensor:
    return torch.rand(16, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def quantized(
    activation: nn.Module, *, fmt: str = "int8", scheme: ActivationScheme = UNSIGNED_8, flat: bool = False
) -> fx.GraphModule:
    prepared = prepare(network(activation, flat=flat), {"first": fmt, "last": fmt}, scheme=scheme)
    calibrate(prepared, [images()])
    return prepared


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("flat", [False, True])
def test_in_floats(activation: nn.Module, flat: bool) -> None:
    folded = fold_batch_norm(network(activation, flat=flat))
    found = Runner(emit(folded, HEADER).SerializeToString(), CPU).predict(images().numpy())
    assert np.allclose(found, folded(images()).detach().numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize(
    ("fmt", "scheme"),
    [
        ("int8", UNSIGNED_8),
        ("int4", UNSIGNED_8),
        ("int2", UNSIGNED_8),
        ("codebook3", UNSIGNED_8),
        ("int8_asymmetric", UNSIGNED_8),
        ("pow2", UNSIGNED_8),
        ("int8", ActivationScheme(signed=True)),
        ("int8", ActivationScheme(signed=True, symmetric=True)),
    ],
    ids=str,
)
def test_between_codes(activation: nn.Module, fmt: str, scheme: ActivationScheme) -> None:
    codes, logits = largest_step(quantized(activation, fmt=fmt, scheme=scheme), HEADER, images())
    assert codes < 1.01
    assert logits < 1e-5


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_behind_a_linear_layer(activation: nn.Module) -> None:
    codes, logits = largest_step(quantized(activation, flat=True), HEADER, images())
    assert codes < 1.01
    assert logits < 1e-5


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_layers_multiply_integers_on_either_side(activation: nn.Module) -> None:
    found = kernels(emit(quantized(activation), HEADER))
    assert {"QLinearConv", "QGemm"} <= set(found)
    on_codes = ON_CODES.get(type(activation))
    if on_codes is not None and on_codes.startswith("Q"):
        assert on_codes in found
    assert ("DequantizeLinear" in found) == (on_codes is None)


@pytest.mark.parametrize(
    ("activation", "held"),
    [
        # 3x6x6 pixels as floats and codes; 4x4x4 results. On codes nothing is larger than the first.
        (nn.Sigmoid(), 4 * 108 + 108),
        (nn.LeakyReLU(), 4 * 108 + 108),
        # Codes, what they stand for, and the result, which is the larger.
        (nn.Tanh(), 64 * (4 + 4)),
        # What the codes stand for is read twice: by the sigmoid, and with its result by the product.
        (nn.SiLU(), 64 * (4 + 4 + 4)),
    ],
    ids=str,
)
def test_peak_memory(activation: nn.Module, held: int) -> None:
    found = read_costs(emit(quantized(activation), HEADER)).peak_memory_bytes
    assert found == max(held, 4 * 108 + 108)


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Hardsigmoid()], ids=str)
def test_what_goes_up_to_one_has_a_grid_of_its_own(activation: nn.Module) -> None:
    prepared = prepare(network(activation), {"first": "int8", "last": "int8"})
    assert prepared.get_submodule("activation_quantizer").grid() == (np.float32(1 / 255), 0)
    calibrate(prepared, [images()])
    assert prepared.get_submodule("activation_quantizer").grid() == (np.float32(1 / 255), 0)
