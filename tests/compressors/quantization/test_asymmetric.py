"""Zero points per channel: against the arithmetic of PackedWeight, and against a grid without them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors.formats import FORMATS, integer_codes
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.asymmetric import on_shifted_grid, range_grid, shifted_codes
from compressors.quantization.modules import QuantizedConv2d
from compressors.quantization.numerics import mse_scales, rounded

torch.set_num_threads(1)

CODES = FORMATS["int8_asymmetric"].codes


def one_sided(seed: int) -> Tensor:
    """Channels mostly above, mostly below and around zero."""
    shift = torch.tensor([2.0, -2.0, 0.0, 5.0])[:, None]
    return torch.randn(4, 30, generator=torch.Generator().manual_seed(seed)) + shift


@given(seed=st.integers(0, 2**16))
def test_values_are_code_less_zero_point_times_scale(seed: int) -> None:
    weight = one_sided(seed)
    scales, zeros = range_grid(weight, CODES)
    codes = shifted_codes(weight, scales, zeros, CODES)
    values = (codes - zeros[:, None]) * scales[:, None]
    torch.testing.assert_close(on_shifted_grid(weight, scales, zeros, CODES), values)
    assert CODES[0] <= float(codes.min()) <= float(codes.max()) <= CODES[-1]
    assert float((values - weight).abs().max()) < 8 / 255  # clipped at most a little


def test_zero_is_a_value() -> None:
    weight = torch.tensor([[3.0, 5.0, 0.0], [-1.0, -4.0, 0.0], [0.0, 0.0, 0.0]])
    scales, zeros = range_grid(weight, CODES)
    assert torch.equal(on_shifted_grid(weight, scales, zeros, CODES) == 0, weight == 0)


def test_one_sided_weights_are_rounded_more_finely_than_without() -> None:
    weight = one_sided(1)[[0, 1, 3]]
    shifted = on_shifted_grid(weight, *range_grid(weight, CODES), CODES)
    plain = rounded(weight, mse_scales(weight, integer_codes(8)), integer_codes(8))
    errors = [(values - weight).square().sum(1) for values in (shifted, plain)]
    assert bool((errors[0] < 0.5 * errors[1]).all())


def test_a_layer_packs_them() -> None:
    conv = nn.Conv2d(3, 4, 3)
    conv.weight.data += torch.tensor([0.3, -0.3, 0.0, 0.1])[:, None, None, None]
    layer = QuantizedConv2d(conv, "int8_asymmetric", ActivationQuantizer(fixed=(0.1, 0)))
    packed = layer.packed()
    assert packed.zero_points is not None
    assert packed.zero_points.dtype == torch.int8
    assert int(packed.zero_points[0]) < 0 < int(packed.zero_points[1])
    shape = (-1, 1, 1, 1)
    values = (packed.codes.float() - packed.zero_points.reshape(shape)) * packed.scales.reshape(shape)
    torch.testing.assert_close(layer.quantized()[0].detach(), values)
