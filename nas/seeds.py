"""One candidate trained with several seeds: the mean of its accuracies, and how sure that mean is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def pooled_variance(groups: Sequence[Sequence[float]]) -> float:
    """Variance of a figure from one seed to another, over all candidates that have more than one; 0 where none has.

    Pooled as in an analysis of variance, sum (x_ij - mean_i)^2 / sum (k_i - 1), since two or three seeds of one
    candidate tell little by themselves.
    """
    several = [np.asarray(group, dtype=np.float64) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(float(np.sum((group - group.mean()) ** 2)) for group in several)
    return squares / freedom if freedom else 0.0


def over_seeds(groups: Sequence[Sequence[float]], standard_errors: ArrayLike) -> tuple[Floats, Floats]:
    """Means (n,) of every candidate's figures, at least one each, and standard errors (n,) of these means.

    `standard_errors` (n,) are those of scoring on the images at hand. All seeds of a candidate are scored on the same
    images, so they do not shrink; the variance between seeds does, by how many there are. It is known only where some
    candidate has several, and then counts for all of them.
    """
    means = np.array([np.mean(group) for group in groups], dtype=np.float64)
    counts = np.array([len(group) for group in groups], dtype=np.float64)
    images = np.asarray(standard_errors, dtype=np.float64)
    return means, np.sqrt(images**2 + pooled_variance(groups) / np.maximum(counts, 1))
