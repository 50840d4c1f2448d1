"""Factored layers compute what the layer did, in the shapes that are foretold; what cannot be factored is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from compressors.low_rank.factoring import Factoring
from compressors.low_rank.factors import METHODS, Shape
from compressors.low_rank.modules import Factored, factored, shape_of
from compressors.support import Unsupported

torch.set_num_threads(1)


def conv(**changed: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    given: dict[str, Any] = {"kernel_size": (3, 5), "stride": (2, 1), "padding": (1, 2), "bias": False, **changed}
    return nn.Conv2d(4, 7, **given)


@pytest.mark.parametrize("name", ["svd", "spatial_svd", "tucker"])
@pytest.mark.parametrize("changed", [{}, {"padding": (0, 3), "bias": True}, {"stride": (1, 3)}])
def test_at_full_rank_nothing_is_lost(name: str, changed: dict[str, Any]) -> None:
    layer, images = conv(**changed), torch.rand(2, 4, 9, 10)
    chain = factored("a", layer, Factoring(method=name, rank=1), METHODS[name].full(shape_of("a", layer)))
    torch.testing.assert_close(chain(images), layer(images), rtol=0, atol=1e-5)


def test_a_sum_of_products_is_found_again_by_cp() -> None:
    layer, images = conv(), torch.rand(2, 4, 9, 10)
    parts = [torch.randn(size, 2) for size in (7, 4, 3, 5)]
    layer.weight.data = torch.einsum("or,ir,hr,wr->oihw", *parts)
    chain = factored("a", layer, Factoring(method="cp", rank=2), (2,))
    with torch.no_grad():
        assert float((chain(images) - layer(images)).norm()) < 0.02 * float(layer(images).norm())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_parameters_are_those_in_closed_form(name: str) -> None:
    """The last factor of a layer without a bias gets one when batch norm is folded into it."""
    layer, ranks = conv(), (2, 3) if name == "tucker" else (3,)
    chain = factored("a", layer, Factoring(method=name, rank=1), ranks)
    assert isinstance(chain, Factored)
    found = sum(parameter.numel() for parameter in chain.parameters())
    assert found + layer.out_channels == METHODS[name].parameters(shape_of("a", layer), ranks)
    assert [factor.bias is not None for factor in chain] == [True] * (len(chain) - 1) + [False]
    assert all(float(factor.bias.detach().abs().max()) == 0 for factor in chain if factor.bias is not None)


def test_a_linear_layer_keeps_its_bias() -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(9, 5), torch.rand(3, 9)
    chain = factored("a", layer, Factoring(method="svd", rank=1), (5,)).eval()
    torch.testing.assert_close(chain(rows), layer(rows))
    assert torch.equal(chain[-1].bias, layer.bias)
    chain[-1].bias.data.zero_()
    assert float(layer.bias.detach().abs().min()) > 0  # the original is left alone


def test_type_and_mode_are_the_layers() -> None:
    chain = factored("a", conv().double().eval(), Factoring(method="svd", rank=1), (2,))
    assert {parameter.dtype for parameter in chain.parameters()} == {torch.float64}
    assert not any(part.training for part in chain.modules())
    assert all(parameter.requires_grad for parameter in chain.parameters())


def test_factors_lie_in_memory_as_the_layer_and_draw_no_random_numbers() -> None:
    layer = conv().to(memory_format=torch.channels_last)
    before = torch.random.get_rng_state()
    chain = factored("a", layer, Factoring(method="svd", rank=1), (2,))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert chain[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not chain[0].weight.is_contiguous()


def test_every_factor_learns() -> None:
    chain = factored("a", conv(), Factoring(method="cp", rank=3), (3,))
    chain(torch.rand(2, 4, 9, 10)).square().sum().backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in chain.parameters())


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (conv(groups=1, dilation=2), r"a \(Conv2d\): dilation \(2, 2\), supported: \(1, 1\)"),
        (nn.Conv2d(4, 4, 3, groups=4), r"a \(Conv2d\): groups 4, supported: 1: a layer of one filter per channel"),
        (nn.Conv2d(4, 4, 3, padding="same"), r"padding 'same' with zeros"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), r"with reflect"),
        (nn.Conv2d(4, 4, 1, padding=1), r"none along a side of one pixel"),
        (nn.BatchNorm2d(4), r"cannot factor BatchNorm2d \(a\)"),
        (nn.Conv2d(4, 4, 3).half(), r"dtype of weight float16"),
    ],
)
def test_what_cannot_be_factored_is_named(layer: nn.Module, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        shape_of("a", layer)


def test_a_method_for_kernels_is_refused_of_a_matrix() -> None:
    with pytest.raises(Unsupported, match=r"cannot factor a \(Linear\) by tucker: it has no k x k kernel"):
        factored("a", nn.Linear(9, 5), Factoring(method="tucker", rank=1), (1, 1))
    assert shape_of("a", nn.Linear(9, 5)) == Shape(9, 5, is_linear=True)
