"""Anchors: where a search begins, at the largest network of each kind of block, compressed as the middle choices say.

Few random draws are large in every stage, so a short search sees nothing of the accurate end of a space until it has
bred its way there. What anchors are is bred, pruned and quantized further as any other candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from compressors.plan import BITS
from nas.hyperparameters import GENE_PREFIX, middle_of_range
from nas.study import Study
from search_spaces.block_configs import Family
from search_spaces.spaces import last, middle

Answer = Callable[[str, BaseDistribution], Any]


def anchors(study: Study) -> list[Answer]:
    """What each of the first trials answers to a gene's name and distribution; none for the random sampler."""
    if study.search.sampler == "random" or not study.search.anchors:
        return []
    return [partial(_answer, kind) for kind in study.space.block_spaces()]


def _answer(kind: Family, gene: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return _choice(kind, gene, choices)
        case FloatDistribution(low=low, high=high, log=log):
            return middle_of_range(low, high, log=log)
        case IntDistribution(high=high):
            return high
    raise TypeError(f"gene {gene}: no anchor for a {type(distribution).__name__}")


def _choice(kind: Family, gene: str, choices: Sequence[Any]) -> Any:
    part = gene.rpartition(".")[2]
    if part == "family" and kind in choices:
        return kind
    if part == "weight_format":
        return middle(sorted(choices, key=BITS.__getitem__))
    if part == "pruning_ratio" or gene.startswith(GENE_PREFIX):
        return middle(sorted(choices))
    return last(choices)
