"""Merging two convolutions: what is called exact is, and what is not would not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from unsupported import hooked

from compressors.removal import is_exact, merge_pairs, merged
from compressors.removal.merging import saves
from compressors.support import Unsupported

torch.set_num_threads(1)

SIZES = st.integers(1, 5)


def convolution(*sizes: int, **fields: Any) -> nn.Conv2d:
    return nn.Conv2d(*sizes, **fields).double()


def close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=1e-9)


@given(SIZES, SIZES, SIZES, st.sampled_from([1, 3, 5]), st.booleans(), st.integers(0, 99))
def test_a_merged_weight_is_the_product_over_the_channels_between(
    inputs: int, middle: int, outputs: int, kernel: int, first_is_wide: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sizes = (kernel, 1) if first_is_wide else (1, kernel)
    first = random.normal(size=(middle, inputs, sizes[0], sizes[0]))
    second = random.normal(size=(outputs, middle, sizes[1], sizes[1]))
    expected = np.zeros((outputs, inputs, kernel, kernel))
    for m in range(middle):
        expected += second[:, m, None] * first[None, m]
    found = merged(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_two_wide_kernels_are_no_single_one() -> None:
    with pytest.raises(ValueError, match="expected a kernel of 1 in one of two weights"):
        merged(torch.ones(2, 2, 3, 3), torch.ones(2, 2, 3, 3))


def pair(first: dict[str, Any], second: dict[str, Any], *, norms: bool) -> nn.Sequential:
    """Two convolutions 3 -> 9 -> 3: merging them always saves parameters."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [convolution(3, 9, **{"kernel_size": 1, **first})]
    layers += [nn.BatchNorm2d(9)] * norms
    layers += [convolution(9, 3, **{"kernel_size": 1, **second})]
    layers += [nn.BatchNorm2d(3)] * norms
    made = nn.Sequential(*layers).double()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(1, 1)
            module.running_var.uniform_(0.5, 2)
    return made.eval()


EXACT = [
    ({"kernel_size": 3, "padding": 1, "stride": 2}, {}),
    ({"kernel_size": 3, "padding": 1, "bias": False}, {"bias": False}),
    ({}, {}),
    ({"stride": 2}, {}),
    ({}, {"stride": 2}),
    ({}, {"kernel_size": 3}),
    ({}, {"kernel_size": 3, "stride": 2, "bias": False}),
]


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize(("first", "second"), EXACT)
def test_merged_convolutions_compute_the_same(first: dict[str, Any], second: dict[str, Any], norms: bool) -> None:
    made = pair(first, second, norms=norms)
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)).double()
    expected = made(images)
    merge_pairs("block", made)
    assert [type(m) for m in made].count(nn.Conv2d) == 1
    assert close(made(images), expected)


def test_padding_without_a_shift_is_exact() -> None:
    made = pair({"bias": False}, {"kernel_size": 3, "padding": 1}, norms=False)
    images = torch.randn(2, 3, 9, 9).double()
    expected = made(images)
    merge_pairs("block", made)
    assert [type(m) for m in made].count(nn.Conv2d) == 1
    assert close(made(images), expected)


@pytest.mark.parametrize(
    ("first", "second", "norms"),
    [
        ({}, {"kernel_size": 3, "padding": 1}, False),  # the first one's bias is missing in the padding
        ({"bias": False}, {"kernel_size": 3, "padding": 1}, True),  # so is its norm's shift
        ({"kernel_size": 3}, {"kernel_size": 3}, False),
        ({}, {"padding": 1}, False),
        ({"stride": 2}, {"kernel_size": 3}, False),
        ({"groups": 3}, {}, False),
        ({}, {"groups": 3}, False),
        ({"kernel_size": 3, "padding": "same"}, {}, False),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, {}, False),
        ({"kernel_size": 3, "dilation": 2}, {}, False),
    ],
)
def test_what_is_not_exact_stays(first: dict[str, Any], second: dict[str, Any], norms: bool) -> None:
    made = pair(first, second, norms=norms)
    merge_pairs("block", made)
    assert [type(m) for m in made].count(nn.Conv2d) == 2


def test_a_pointwise_stride_is_taken_over_by_what_stands_before_it_only_where_it_is_one() -> None:
    assert is_exact(convolution(2, 2, 3, stride=2), convolution(2, 2, 1), shifts=True)
    assert not is_exact(convolution(2, 2, 3), convolution(2, 2, 1, stride=2), shifts=True)


def test_merging_is_for_fewer_parameters() -> None:
    """3 -> m -> 3 with kernel 3: 27 m + m and 3 m + 3 against 81 + 3."""
    for middle, expected in ((2, False), (3, True)):
        first, second = convolution(3, middle, 3), convolution(middle, 3, 1)
        assert saves(first, second) == (31 * middle + 3 > 84) == expected


def test_a_result_that_others_read_is_not_merged_away() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = convolution(3, 9, 1), convolution(9, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.first(x)
            second: Tensor = self.second(out)
            return second + out.mean()

    made = Twice()
    merge_pairs("block", made)
    assert made.first.out_channels == 9


def test_a_layer_that_runs_twice_is_not_merged() -> None:
    shared = convolution(3, 3, 1)
    made = nn.Sequential(shared, shared, convolution(3, 1, 1))
    merge_pairs("block", made)
    assert [type(m) for m in made] == [nn.Conv2d] * 3


def test_three_in_a_row_become_one() -> None:
    torch.manual_seed(0)
    made = nn.Sequential(convolution(3, 20, 3), convolution(20, 10, 1), convolution(10, 2, 1))
    images = torch.randn(1, 3, 6, 6).double()
    expected = made(images)
    merge_pairs("block", made)
    assert [type(m) for m in made].count(nn.Conv2d) == 1
    assert close(made(images), expected)


def test_unsupported_neighbours_are_named() -> None:
    made = pair({}, {}, norms=False)
    hooked(made[0])
    with pytest.raises(Unsupported, match=r"block\.0 \(Conv2d\): forward hooks"):
        merge_pairs("block", made)
    made = nn.Sequential(convolution(3, 9, 1), nn.BatchNorm2d(9, track_running_stats=False), convolution(9, 3, 1))
    with pytest.raises(Unsupported, match="track_running_stats False"):
        merge_pairs("block", made)


def test_a_block_that_branches_is_named() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(Unsupported, match=r"block \(Branching\): cannot be traced"):
        merge_pairs("block", Branching())


def test_gradients_reach_the_merged_layer_in_its_mode() -> None:
    made = pair({"bias": False}, {"bias": False}, norms=True).train()
    merge_pairs("block", made)
    conv = next(m for m in made if isinstance(m, nn.Conv2d))
    made(torch.randn(2, 3, 4, 4).double()).square().sum().backward()
    assert conv.training
    assert conv.weight.grad is not None
    assert conv.weight.is_leaf
