"""Anchors: where a search begins, at the largest and the smallest network of each kind of block, compressed midway.

Few random draws are large, or small, in every stage, so without anchors a short search sees nothing of either end of a
space for many generations. Anchors are bred from, pruned and quantized like any other candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from compressors.formats import BITS
from nas.candidates.hyperparameters import GENE_PREFIX
from nas.study import Compression, Study
from search_spaces.trials import first, last, middle

Answer = Callable[[str, Sequence[Any]], Any]
WITHOUT = ("random", "grid")  # samplers that draw without looking at what was found


def anchors(study: Study) -> list[Answer]:
    """One rule for each of the first trials: its answer to a gene's name and choices. Samplers of WITHOUT have none."""
    if study.search.sampler in WITHOUT or not study.search.anchors:
        return []
    return [anchor(kind, end) for end in (last, first) for kind in study.space.block_spaces()]


def anchor(kind: str, end: Callable[[Sequence[Any]], Any]) -> Answer:
    """The rule of the network of one kind of block that lies at an `end` of every choice, compressed midway."""
    return partial(_answer, kind, end)


def _answer(kind: str, end: Callable[[Sequence[Any]], Any], gene: str, choices: Sequence[Any]) -> Any:
    part = gene.rpartition(".")[2]
    if part == "family" and kind in choices:
        return kind
    if part == "weight_format":
        return middle(sorted(choices, key=BITS.__getitem__))
    if gene.startswith(GENE_PREFIX) or part in Compression.model_fields:  # a compression gene has its key's name
        return middle(choices if isinstance(choices[0], str) else sorted(choices))
    return end(choices)
