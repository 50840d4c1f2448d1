"""Calibration: ranges and scales are those of the batches, however the batches are handed over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compressors.quantization import ActivationQuantizer, QuantizedConv2d, calibrate, prepare
from compressors.quantization.numerics import mse_scales

torch.set_num_threads(1)


def batches() -> list[Tensor]:
    return list(torch.rand(3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0)) * 3)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


def test_ranges_and_scales_fit_the_batches() -> None:
    prepared = prepare(network(), {"0": "int4", "2": "int8"}).train()
    calibrate(prepared, batches())
    assert not prepared.training
    quantizers = [m for m in prepared.modules() if isinstance(m, ActivationQuantizer)]
    assert not any(q.observing for q in quantizers)
    first = quantizers[0]
    assert max(float(x.max()) for x in batches()) >= float(first.high) > 2.5
    for layer in (m for m in prepared.modules() if isinstance(m, QuantizedConv2d)):
        assert torch.allclose(layer.scales, mse_scales(layer.layer.weight, layer.format.codes))


def test_without_images_there_is_no_range() -> None:
    with pytest.raises(ValueError, match="expected at least one batch of images, got none"):
        calibrate(prepare(network(), {"0": "int8"}), [])


@pytest.mark.parametrize("hand_over", [list, tuple, iter])
def test_batches_may_be_an_iterator(hand_over: type) -> None:
    one, other = (prepare(network(), {"0": "int8", "2": "int8"}) for _ in range(2))
    calibrate(one, batches())
    calibrate(other, hand_over(batches()))
    expected = one.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in other.state_dict().items())
