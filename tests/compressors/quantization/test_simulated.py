"""Activations of 4 bits: 16 values, and the 8-bit twin that a file holds."""

from __future__ import annotations

import pytest
import torch
from networks import ARCHITECTURE, HEADER, LAYERS, MIXED, quantized
from torch import Tensor, nn

from compressors.formats import ActivationScheme
from compressors.quantization import ActivationQuantizer, calibrate, prepare
from compressors.quantization.simulated import is_simulated, with_8_bits
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.writer import UnknownOperation
from search_spaces.network import build_network

torch.set_num_threads(1)
SCHEMES = [
    ActivationScheme(bits=4),
    ActivationScheme(bits=4, signed=True),
    ActivationScheme(bits=4, signed=True, symmetric=True),
    ActivationScheme(bits=4, powers_of_two=True),
]


def network(scheme: ActivationScheme) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    prepared = prepare(layers.eval(), {"0": "int8", "2": "int8", "4": "int8"}, scheme=scheme)
    calibrate(prepared, [images()])
    return prepared


def images() -> Tensor:
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_twin_covers_the_same_ranges_more_finely(scheme: ActivationScheme) -> None:
    few = network(scheme)
    many = with_8_bits(few)
    assert (is_simulated(few), is_simulated(many)) == (True, False)
    for own, twin in zip(few.modules(), many.modules(), strict=True):
        if isinstance(own, ActivationQuantizer):
            assert isinstance(twin, ActivationQuantizer)
            (step, zero), (fine, fine_zero) = own.grid(), twin.grid()
            ends = [[step * (c - zero) for c in (own.scheme.low, own.scheme.high)],
                    [fine * (c - fine_zero) for c in (twin.scheme.low, twin.scheme.high)]]  # fmt: skip
            assert ends[0] == pytest.approx(ends[1], abs=step)
            assert fine == pytest.approx(step / 17, rel=0.08)


def test_sixteen_values_between_layers() -> None:
    few = network(SCHEMES[0])
    seen: list[Tensor] = []
    quantizer = next(m for name, m in few.named_modules() if name == "_3_quantizer")
    quantizer.register_forward_hook(lambda _, __, out: seen.append(out))
    few(images())
    assert 8 < len(seen[0].unique()) <= 16


def test_only_the_twin_has_a_file() -> None:
    few = network(SCHEMES[0])
    with pytest.raises(UnknownOperation, match="activations of 4 bits"):
        emit(few, HEADER)
    assert emit(with_8_bits(few), HEADER).graph.node


def test_eight_bits_are_their_own_twin() -> None:
    network = quantized(MIXED)
    assert with_8_bits(network) is network


def test_pixels_keep_their_8_bits() -> None:
    network = build_network(ARCHITECTURE, 10, seed=0).eval()
    prepared = prepare(network, dict.fromkeys(LAYERS, "int8"), scheme=SCHEMES[0])
    of_pixels, *others = (m.scheme.bits for m in prepared.modules() if isinstance(m, ActivationQuantizer))
    assert of_pixels == 8
    assert set(others) == {4}
