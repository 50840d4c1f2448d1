"""Decompositions: errors in closed form, full rank is exact, and tensorly as an independent judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.cp_tensor import cp_to_tensor
from tensorly.decomposition import partial_tucker
from tensorly.tucker_tensor import tucker_to_tensor

from compressors.low_rank.factoring import Factoring
from compressors.low_rank.factors import METHODS, Shape
from compressors.low_rank.numerics import (
    DECOMPOSITIONS,
    Array,
    rank_by_energy,
    ranks_by_weights,
    spatial_svd,
    svd,
    truncated,
    tucker,
    unfoldings,
)


def weights(seed: int, *sizes: int) -> Array:
    return np.random.default_rng(seed).normal(size=sizes)


def whole_of(name: str, factors: tuple[Array, ...]) -> Array:
    """The kernel (out, in, h, w) that factors compute together, by the definition of each method."""
    match name:
        case "svd":
            return np.einsum("or,rihw->oihw", factors[1][:, :, 0, 0], factors[0])
        case "spatial_svd":
            return np.einsum("orw,rih->oihw", factors[1][:, :, 0], factors[0][..., 0])
        case "tucker":
            return np.einsum("ob,bahw,ai->oihw", factors[2][..., 0, 0], factors[1], factors[0][..., 0, 0])
        case _:
            first, column, row, last = factors
            return np.asarray(
                cp_to_tensor((None, [last[..., 0, 0], first[..., 0, 0].T, column[:, 0, :, 0].T, row[:, 0, 0].T]))
            )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.data())
def test_the_error_of_an_svd_is_what_was_discarded(seed: int, rows: int, columns: int, data: st.DataObject) -> None:
    matrix = weights(seed, rows, columns)
    rank = data.draw(st.integers(1, min(rows, columns)))
    left, right = truncated(matrix, rank)
    assert (left.shape, right.shape) == ((rows, rank), (rank, columns))
    discarded = np.linalg.eigvalsh(matrix @ matrix.T)[::-1][rank:].clip(0).sum()
    np.testing.assert_allclose(((matrix - left @ right) ** 2).sum(), discarded, atol=1e-9)
    np.testing.assert_allclose((left**2).sum(0), (right**2).sum(1), atol=1e-9)  # neither factor is the smaller one


@pytest.mark.parametrize("name", ["svd", "spatial_svd", "tucker"])
def test_full_rank_is_exact(name: str) -> None:
    weight = weights(0, 7, 4, 3, 5)
    factors = DECOMPOSITIONS[name].weights(weight, METHODS[name].full(Shape(4, 7, (3, 5))))
    np.testing.assert_allclose(whole_of(name, factors), weight, atol=1e-12)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_factors_have_the_shapes_that_are_foretold(name: str) -> None:
    shape, ranks = Shape(4, 7, (3, 5)), (3, 2) if name == "tucker" else (3,)
    factors = DECOMPOSITIONS[name].weights(weights(1, 7, 4, 3, 5), ranks)
    expected = [
        (one.outputs, 1 if one.is_depthwise else one.inputs, *one.kernel) for one in METHODS[name].factors(shape, ranks)
    ]
    assert [factor.shape for factor in factors] == expected


def test_matrices_and_kernels_are_cut_where_it_costs_least() -> None:
    weight = weights(2, 6, 5, 3, 3)
    values = np.linalg.svd(weight.reshape(6, 45), compute_uv=False)
    error = ((weight - whole_of("svd", svd(weight, (2,)))) ** 2).sum()
    assert error == pytest.approx((values[2:] ** 2).sum())
    columns = np.stack([[weight[o, i, h, w] for o in range(6) for w in range(3)] for i in range(5) for h in range(3)])
    values = np.linalg.svd(columns, compute_uv=False)
    error = ((weight - whole_of("spatial_svd", spatial_svd(weight, (4,)))) ** 2).sum()
    assert error == pytest.approx((values[4:] ** 2).sum())


def test_a_linear_layer_has_two_matrices() -> None:
    weight = weights(3, 6, 9)
    first, last = svd(weight, (4,))
    assert (first.shape, last.shape) == ((4, 9), (6, 4))
    assert ((weight - last @ first) ** 2).sum() == pytest.approx((np.linalg.svd(weight)[1][4:] ** 2).sum())


def test_tucker_is_tensorlys_and_no_worse_than_cutting_each_side_alone() -> None:
    weight = weights(4, 8, 6, 3, 3)
    found = whole_of("tucker", tucker(weight, (3, 4)))
    (core, factors), _ = partial_tucker(weight, rank=[4, 3], modes=[0, 1], init="svd", n_iter_max=500, tol=1e-12)
    best = tucker_to_tensor((core, [*factors, np.eye(3), np.eye(3)]))
    assert ((weight - found) ** 2).sum() == pytest.approx(((weight - best) ** 2).sum(), rel=0.01)
    one, other = (np.linalg.svd(matrix, compute_uv=False) for matrix in unfoldings(weight))
    assert ((weight - found) ** 2).sum() < (one[3:] ** 2).sum() + (other[4:] ** 2).sum()  # De Lathauwer et al. 2000
    assert ((weight - found) ** 2).sum() > max((one[3:] ** 2).sum(), (other[4:] ** 2).sum())


def test_cp_finds_a_sum_of_three_products_and_balances_it() -> None:
    parts = [weights(seed, size, 3) for seed, size in enumerate((8, 6, 3, 3))]
    weight = np.asarray(cp_to_tensor((None, parts)))
    factors = DECOMPOSITIONS["cp"].weights(weight, (3,))
    assert ((weight - whole_of("cp", factors)) ** 2).sum() < 1e-4 * (weight**2).sum()
    first, column, row, last = factors
    norms = [(first**2).sum((1, 2, 3)), (column**2).sum((1, 2, 3)), (row**2).sum((1, 2, 3)), (last**2).sum((0, 2, 3))]
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], (4, 3)))


@pytest.mark.parametrize("rank", [2, 11])
def test_the_same_weight_is_factored_the_same(rank: int) -> None:
    """Of eleven components the singular vectors tell but six: the others are drawn."""
    weight = weights(5, 6, 4, 3, 3)
    one, other = (DECOMPOSITIONS["cp"].weights(weight, (rank,)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_energy_is_the_smallest_rank_that_keeps_it() -> None:
    matrix = np.diag([3.0, 2.0, 1.0, 0.0])  # squares 9, 4, 1
    assert [rank_by_energy(matrix, share / 14) for share in (1, 9, 9.5, 13, 13.5)] == [1, 1, 2, 2, 3]
    assert rank_by_energy(np.zeros((3, 4)), 0.9) == 1


def test_ranks_by_weights_are_those_of_each_sides_matrix() -> None:
    core = weights(6, 2, 3, 3, 3)
    weight = np.einsum("ob,bahw,ai->oihw", weights(7, 12, 2), core, weights(8, 3, 10))
    weight = weight + 0.05 * weights(9, *weight.shape)
    assert ranks_by_weights(weight, Factoring(method="tucker", vbmf=True)) == (3, 2)  # inputs, outputs
    assert ranks_by_weights(weight, Factoring(method="tucker", energy=0.99)) == (3, 2)
    assert ranks_by_weights(weight, Factoring(method="svd", vbmf=True)) == (2,)
    noise = weights(10, 12, 10, 3, 3)
    assert ranks_by_weights(noise, Factoring(method="spatial_svd", vbmf=True)) is None
