"""A weight as a product of smaller ones: pure functions of arrays in float64.

A row of DECOMPOSITIONS gives the weights of a method's factors, in order of execution and of the shapes that `factors`
tells; bias is not their matter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressors.low_rank.factoring import Factoring
from compressors.low_rank.factors import Ranks
from compressors.low_rank.vbmf import rank_by_vbmf

Array = NDArray[np.float64]
SEED = 0  # of what a decomposition begins with, where singular vectors do not tell it
MOST_SWEEPS = 100


@dataclass(frozen=True)
class Decomposition:
    """matrices: what the singular values of a method are taken of, one per rank. weights: those of the factors."""

    matrices: Callable[[Array], tuple[Array, ...]]
    weights: Callable[[Array, Ranks], tuple[Array, ...]]


def truncated(matrix: Array, rank: int) -> tuple[Array, Array]:
    """(m, n) -> (m, rank) and (rank, n), whose product is nearest to the matrix (Eckart and Young 1936).

    The squared error is the sum of the squares of the singular values left out. Both get the roots of those that stay,
    so that neither has much smaller weights, and gradients, than the other.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    roots = np.sqrt(values[:rank])
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


def as_matrix(weight: Array) -> Array:
    """(out, in, ...) -> (out, in * ...)."""
    return weight.reshape(len(weight), -1)


def as_columns_and_rows(weight: Array) -> Array:
    """(out, in, h, w) -> (in * h, out * w)."""
    outputs, inputs, height, width = weight.shape
    return weight.transpose(1, 2, 0, 3).reshape(inputs * height, outputs * width)


def unfoldings(weight: Array) -> tuple[Array, Array]:
    """(out, in, h, w) -> (in, out * h * w) and (out, in * h * w)."""
    return as_matrix(weight.swapaxes(0, 1)), as_matrix(weight)


def svd(weight: Array, ranks: Ranks) -> tuple[Array, ...]:
    last, first = truncated(as_matrix(weight), *ranks)
    return first.reshape(-1, *weight.shape[1:]), last.reshape(*last.shape, *(1,) * (weight.ndim - 2))


def spatial_svd(weight: Array, ranks: Ranks) -> tuple[Array, ...]:
    """Tai et al. 2016 (arXiv:1511.06067), Jaderberg et al. 2014 (arXiv:1405.3866)."""
    outputs, inputs, height, width = weight.shape
    columns, rows = truncated(as_columns_and_rows(weight), *ranks)
    first = columns.reshape(inputs, height, -1).transpose(2, 0, 1)[..., None]
    return first, rows.reshape(-1, outputs, width).swapaxes(0, 1)[:, :, None, :]


def tucker(weight: Array, ranks: Ranks) -> tuple[Array, ...]:
    """Kim et al. 2016 (arXiv:1511.06530): Tucker-2 along both axes of channels, by orthogonal iteration."""
    from tensorly.decomposition import partial_tucker

    first, last = ranks
    (core, (outputs, inputs)), _ = partial_tucker(weight, rank=[last, first], modes=[0, 1], init="svd")
    return _pointwise(inputs.T), np.asarray(core), _pointwise(outputs)


def cp(weight: Array, ranks: Ranks) -> tuple[Array, ...]:
    """Lebedev et al. 2015 (arXiv:1412.6553): alternating least squares; a sum of `rank` products of four vectors."""
    from tensorly.decomposition import parafac

    (rank,) = ranks
    with warnings.catch_warnings(action="ignore"):  # of more components than singular vectors: the rest is drawn
        scales, parts = parafac(
            weight, rank, init="svd", n_iter_max=MOST_SWEEPS, tol=1e-7, random_state=np.random.RandomState(SEED)
        )
    outputs, inputs, column, row = _balanced([np.asarray(scales) * parts[0], *parts[1:]])
    vertical, horizontal = column.T[:, None, :, None], row.T[:, None, None, :]
    return _pointwise(inputs.T), vertical, horizontal, _pointwise(outputs)


def _balanced(parts: Sequence[Array]) -> list[Array]:
    """The same products of vectors, all vectors of one product equally long."""
    norms = np.stack([np.linalg.norm(part, axis=0) for part in parts])
    shared = np.prod(norms ** (1 / len(parts)), axis=0)
    return [part * (shared / np.maximum(norm, 1e-300)) for part, norm in zip(parts, norms, strict=True)]


def _pointwise(matrix: Array) -> Array:
    return np.asarray(matrix)[:, :, None, None]


DECOMPOSITIONS: Mapping[str, Decomposition] = {
    "svd": Decomposition(lambda weight: (as_matrix(weight),), svd),
    "spatial_svd": Decomposition(lambda weight: (as_columns_and_rows(weight),), spatial_svd),
    "tucker": Decomposition(unfoldings, tucker),
    "cp": Decomposition(lambda _: (), cp),
}


def rank_by_energy(matrix: Array, energy: float) -> int:
    """The smallest rank whose singular values have this share of the sum of all squares."""
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    held = np.cumsum(squares)
    return min(1 + int((held < (energy - 1e-12) * held[-1]).sum()), len(squares))


def ranks_by_weights(weight: Array, asked: Factoring) -> Ranks | None:
    """The ranks that a weight has by energy or by VBMF; None where VBMF tells nothing in it from noise.

    So it is of layers that were hardly trained, whose weights are still mostly what they began as.
    """
    matrices = DECOMPOSITIONS[asked.method].matrices(weight)
    if asked.energy is not None:
        return tuple(rank_by_energy(matrix, asked.energy) for matrix in matrices)
    ranks = tuple(rank_by_vbmf(matrix) for matrix in matrices)
    return ranks if all(ranks) else None
