"""Anchors: where a search begins, at the largest and the smallest network of each kind of block, compressed midway.

Few random draws are large, or small, in every stage, so without anchors a short search sees nothing of either end of a
space for many generations. Anchors are bred from, pruned and quantized like any other candidate. Of a network that
exists already they are its compression midway, the least there is, and the most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from compressors.formats import BITS
from nas.candidates.corners import strongest_first
from nas.candidates.drawing_steps import label_of
from nas.candidates.hyperparameters import GENE_PREFIX
from nas.study import Compression, Study
from search_spaces.trials import first, last, middle

Answer = Callable[[str, Sequence[Any]], Any]
Pick = Callable[[Sequence[Any]], Any]
WITHOUT = ("random", "grid")  # samplers that draw without looking at what was found


def anchors(study: Study) -> list[Answer]:
    """One rule for each of the first trials: its answer to a gene's name and choices. Samplers of WITHOUT have none."""
    if study.search.sampler in WITHOUT or not study.search.anchors:
        return []
    kinds = study.space.block_spaces()
    if not kinds:
        hows: list[Answer] = [_midway, *(partial(_end, study.compression, pick) for pick in (last, first))]
        return [partial(_answer, "", last, how) for how in hows]
    return [anchor(kind, end) for end in (last, first) for kind in kinds]


def anchor(kind: str, end: Pick) -> Answer:
    """The rule of the network of one kind of block that lies at an `end` of every choice, compressed midway."""
    return partial(_answer, kind, end, _midway)


def midway(study: Study) -> list[Answer]:
    """The rule of the largest network of each kind of block, compressed midway."""
    return [anchor(kind, last) for kind in study.space.block_spaces() or ("",)]


def _answer(kind: str, end: Pick, how: Answer, gene: str, choices: Sequence[Any]) -> Any:
    """`how` answers, by their keys, the genes of compression, which have their key's name."""
    part = gene.rpartition(".")[2]
    if part == "family" and kind in choices:
        return kind
    if gene.startswith(GENE_PREFIX):
        return _midway(part, choices)
    return how(part, choices) if part in Compression.model_fields else end(choices)


def _midway(key: str, choices: Sequence[Any]) -> Any:
    if key == "weight_format":
        return middle(sorted(choices, key=BITS.__getitem__))
    return middle(choices if isinstance(choices[0], str) else sorted(choices))


def _end(compression: Compression, pick: Pick, key: str, choices: Sequence[Any]) -> Any:
    """The choice that `pick` takes where the one that compresses most is the first."""
    if key == "weight_format":  # the first and the last layer may have one that the study does not name
        return pick(sorted(choices, key=BITS.__getitem__))
    order = [label_of(choice) for choice in getattr(strongest_first(compression), key)]
    return pick(sorted(choices, key=order.index))
