"""How much kernels have in common: what is learned of one corrects those of its kind that are shaped like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.measuring.latency_terms import Array, Kernel, Work


def similarities(some: Sequence[Kernel], others: Sequence[Kernel], reach: float) -> Array:
    """Correlation (len(some), len(others)) of the corrections of kernels; 0 between those of different kinds."""
    found = np.zeros((len(some), len(others)))
    rows, columns = _by_kind(some), _by_kind(others)
    for kind in rows.keys() & columns.keys():
        a, b = (np.array([k[i].shape for i in at]) for k, at in ((some, rows[kind]), (others, columns[kind])))
        found[np.ix_(rows[kind], columns[kind])] = matern(_squared_distances(a, b), reach)
    return found


def matern(squared: Array, reach: float) -> Array:
    """The Matern-5/2 correlation at squared distances."""
    scaled = np.sqrt(5 * squared) / reach
    found: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return found


def _squared_distances(a: Array, b: Array) -> Array:
    """Between the rows of a (..., n, d) and b (..., m, d)."""
    crossed = a @ np.swapaxes(b, -1, -2)
    found: Array = np.maximum((a**2).sum(-1)[..., :, None] + (b**2).sum(-1)[..., None, :] - 2 * crossed, 0)
    return found


def _by_kind(kernels: Sequence[Kernel]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, kernel in enumerate(kernels):
        found.setdefault(kernel.kind, []).append(i)
    return found


class SeenKernels:
    """Kernels that were seen, with what they have in common with each sample: networks share most of theirs."""

    def __init__(self, kernels: Sequence[Kernel], shares: Array, reach: float) -> None:
        self._kernels, self._shares, self._reach = kernels, shares, reach
        self._number: dict[Kernel, int] = {}
        self._kinds: dict[str, int] = {}
        self._kind = np.zeros(0, np.intp)
        self._shape = np.zeros((0, len(kernels[0].shape)))
        self._alike = np.zeros((0, len(shares)))

    def places(self, works: Sequence[Work]) -> list[list[int]]:
        """The numbers of every network's kernels; new ones get theirs."""
        numbers, before = self._number, len(self._number)
        found = [[numbers.setdefault(kernel, len(numbers)) for kernel in work.kernels] for work in works]
        if new := list(numbers)[before:]:
            kinds = [self._kinds.setdefault(kernel.kind, len(self._kinds)) for kernel in new]
            self._kind = np.concatenate([self._kind, kinds])
            self._shape = np.concatenate([self._shape, np.array([kernel.shape for kernel in new])])
            alike = similarities(new, self._kernels, self._reach) @ self._shares.T
            self._alike = np.concatenate([self._alike, alike])
        return found

    def correlated(self, shares: Array, places: NDArray[np.intp]) -> tuple[Array, Array]:
        """For networks' shares (n, k) of the kernels at `places`: correlation (n, samples), and variance (n,)."""
        kind, shape = self._kind[places], self._shape[places]
        pairs = matern(_squared_distances(shape, shape), self._reach) * (kind[:, :, None] == kind[:, None, :])
        own = ((pairs @ shares[:, :, None])[:, :, 0] * shares).sum(1)
        return (shares[:, None, :] @ self._alike[places])[:, 0], own
