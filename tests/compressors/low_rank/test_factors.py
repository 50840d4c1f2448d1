"""Factors as plain data: shapes, parameters, and the ranks within a budget, by brute force."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.low_rank.factors import METHODS, Shape

KERNELS = st.sampled_from([(3, 3), (5, 5), (3, 5)])
CONVS = st.builds(Shape, st.integers(1, 40), st.integers(1, 40), KERNELS, st.sampled_from([(1, 1), (2, 2)]))
LINEAR = Shape(12, 8, is_linear=True)
POINTWISE = Shape(12, 8)
DEPTHWISE = Shape(8, 8, (3, 3), is_depthwise=True)
CONV = Shape(6, 10, (3, 5), (2, 2))


def test_what_fits_what() -> None:
    shapes = (LINEAR, POINTWISE, DEPTHWISE, CONV)
    fitting = {name: [method.fits(shape) for shape in shapes] for name, method in METHODS.items()}
    only_conv = [False, False, False, True]
    assert fitting == {"svd": [True, True, False, True], "spatial_svd": only_conv, "tucker": only_conv, "cp": only_conv}
    assert all(name == method.name for name, method in METHODS.items())


def test_parameters_in_closed_form() -> None:
    """Every factor has a bias, as every layer that is executed has."""
    assert CONV.parameters == 6 * 10 * 15 + 10
    found = {name: METHODS[name].parameters(CONV, (4, 3) if name == "tucker" else (4,)) for name in METHODS}
    assert found == {
        "svd": 6 * 4 * 15 + 4 + 4 * 10 + 10,
        "spatial_svd": 6 * 4 * 3 + 4 + 4 * 10 * 5 + 10,
        "tucker": 6 * 4 + 4 + 4 * 3 * 15 + 3 + 3 * 10 + 10,
        "cp": 6 * 4 + 4 + 4 * 3 + 4 + 4 * 5 + 4 + 4 * 10 + 10,
    }
    assert METHODS["svd"].parameters(LINEAR, (2,)) == 12 * 2 + 2 + 2 * 8 + 8


def test_strides_are_taken_once_along_each_side() -> None:
    for name, method in METHODS.items():
        factors = method.factors(CONV, (2, 2) if name == "tucker" else (2,))
        down, right = 1, 1
        for factor in factors:
            down, right = down * factor.stride[0], right * factor.stride[1]
        assert (down, right) == (2, 2), name
        assert [factors[0].inputs, factors[-1].outputs] == [6, 10]
        assert all(one.outputs == other.inputs for one, other in pairwise(factors))


@settings(max_examples=40, deadline=None)
@given(CONVS, st.sampled_from(sorted(METHODS)), st.floats(0.05, 1))
def test_the_ranks_within_a_budget_are_the_largest(shape: Shape, name: str, share: float) -> None:
    method, budget = METHODS[name], share * shape.parameters
    found = method.within(shape, budget)
    rungs = [method.ladder(shape, step) for step in range(1, max(method.full(shape)) + 1)]
    fitting = [ranks for ranks in rungs if method.parameters(shape, ranks) <= budget]
    assert found == (fitting[-1] if fitting else rungs[0])
    assert rungs[-1] == method.full(shape)


@pytest.mark.parametrize(("name", "full"), [("svd", (10,)), ("spatial_svd", (18,)), ("tucker", (6, 10)), ("cp", (90,))])
def test_full_ranks(name: str, full: tuple[int, ...]) -> None:
    """min(6 * 15, 10); min(6 * 3, 10 * 5); both numbers of channels; 3 * 5 * 6."""
    assert METHODS[name].full(CONV) == full
    wide = Shape(2, 64, (3, 3))  # no more outputs are independent than a patch has numbers
    assert [METHODS["svd"].full(wide), METHODS["tucker"].full(wide)] == [(18,), (2, 18)]
