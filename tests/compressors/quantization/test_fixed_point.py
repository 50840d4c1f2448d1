"""Powers of two: exact arithmetic, the best of them by brute force, and activations on such grids."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from compressors.formats import ActivationScheme, integer_codes
from compressors.quantization import calibrate, prepare
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.fixed_point import power_above, power_scales
from compressors.quantization.modules import QuantizedConv2d

torch.set_num_threads(1)

POWERS = ActivationScheme(powers_of_two=True)


def is_power(value: float) -> bool:
    return math.frexp(value)[0] == 0.5


@given(st.floats(2.0**-90, 2.0**90, width=32))
def test_the_next_power_of_two(value: float) -> None:
    found = float(power_above(torch.tensor(value)))
    assert is_power(found)
    assert value <= found < 2 * value


def test_powers_of_two_stay() -> None:
    values = torch.tensor([0.25, 1.0, 64.0])
    assert torch.equal(power_above(values), values)


@given(seed=st.integers(0, 2**16))
def test_no_other_power_of_two_is_better(seed: int) -> None:
    rows = torch.randn(4, 30, generator=torch.Generator().manual_seed(seed)) ** 3
    codes = integer_codes(8)

    def error(scales: Tensor) -> Tensor:
        steps = scales[:, None]
        return (rows - (rows / steps).round().clamp(codes[0], codes[-1]) * steps).square().sum(1)

    found = power_scales(rows, codes)
    assert all(map(is_power, found.tolist()))
    best = torch.stack([error(torch.full((4,), 2.0**power)) for power in range(-20, 6)]).amin(0)
    assert bool((error(found) <= best * (1 + 1e-5)).all())


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (-1.0, 2.9), (-3.0, 0.0), (0.0, 4.0)])
def test_a_range_is_held_by_the_smallest_power_that_does(low: float, high: float) -> None:
    quantizer = ActivationQuantizer(scheme=POWERS)
    quantizer.observing = True
    x = torch.linspace(low, high, 200)
    out = quantizer(x)
    scale, zero_point = quantizer.grid()
    assert is_power(scale)
    assert scale / 2 * 255 < high - low <= scale * 255
    assert 0 <= zero_point <= 255
    assert float((out - x).abs().max()) <= scale / 2 * (1 + 1e-5)


def test_under_a_ceiling_the_grid_ends_below_it() -> None:
    """So that its quantizer does what ReLU6 would, and integer kernels follow one another."""
    quantizer = ActivationQuantizer(ceiling=6.0, scheme=POWERS)
    quantizer.observing = True
    quantizer(torch.linspace(0, 6, 100))
    assert quantizer.grid() == (2**-6, 0)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.relu, self.pool, self.last = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        return self.last(torch.flatten(self.pool(self.third(x)), 1))  # type: ignore[no-any-return]


def grids(network: fx.GraphModule) -> dict[str, bool]:
    """Of each quantizer, whether its scale is a power of two."""
    found = {name: module for name, module in network.named_modules() if isinstance(module, ActivationQuantizer)}
    return {name.removesuffix("_quantizer"): is_power(float(module.scale)) for name, module in found.items()}


def test_only_activations_around_such_layers_have_such_grids() -> None:
    torch.manual_seed(0)
    formats = {"first": "int8", "second": "pow2", "third": "int8", "last": "pow2"}
    network = prepare(Net(), formats)
    calibrate(network, [torch.rand(8, 1, 9, 9)])
    around = {"relu", "relu_1", "pool"}  # what `second` reads and writes, and whose codes flatten moves to `last`
    assert {name for name, is_fixed in grids(network).items() if is_fixed} == around
    assert grids(network).keys() - around == {"x", "third"}
    layer = network.get_submodule("second")
    assert isinstance(layer, QuantizedConv2d)
    assert all(map(is_power, layer.packed().scales.tolist()))


def test_a_nearly_dead_channel_has_a_power_too() -> None:
    conv = nn.Conv2d(2, 3, 1)
    conv.weight.data[1] = 1e-14
    layer = QuantizedConv2d(conv, "pow2", ActivationQuantizer(fixed=(0.25, 0)))
    packed = layer.packed()
    assert all(map(is_power, packed.scales.tolist()))
    assert int(packed.bias_codes.abs().max()) < 2**31 - 1
