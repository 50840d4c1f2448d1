"""Pools of candidates as rows of units: random ones, and children of good ones by mutation and crossover.

What is drawn depends on the seed and on the parent alone, so that a parent that stays good has the same children in the
next ask. Only every BLOCK-th ask they are drawn anew.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nas.samplers.spaces.recording import BELOW_ONE
from nas.samplers.spaces.streams import Words, hashed, mixed, uniform, words_of
from nas.samplers.spaces.units import Floats, Genes

BLOCK = 8
CROSSED = 0.4  # share of children with two parents
LOCAL = 0.25  # share of the mutations of ordered genes that are small steps
STEP = 0.1  # of the range, where a gene has no cells


def random_rows(genes: Genes, count: int, seed: int) -> Floats:
    """Random rows, shape (count, genes.width)."""
    words = mixed(np.arange(count, dtype=np.uint64) ^ words_of(seed))
    return genes.snapped(uniform(words, genes.width, stream=0))


def children(genes: Genes, parents: Floats, active: NDArray[np.bool_], count: int, seed: int) -> Floats:
    """About `count` children, equally many of each parent; `active` says which genes a parent has, (n, genes).

    A child takes each gene from its parent or, in part, from another; those that its parent lacks are random. Then one
    gene that its parent has is changed, and by chance none, one, two or four others.
    """
    each = math.ceil(count / len(parents))
    kin = hashed(parents) ^ words_of(seed)
    words = mixed(np.repeat(kin, each) + np.tile(np.arange(1, each + 1, dtype=np.uint64), len(parents)))
    salted = np.column_stack([active, np.zeros(len(parents), dtype=np.bool_)])
    inherited = np.where(salted, parents, np.nan)
    rows = _crossed(np.repeat(inherited, each, axis=0), inherited[_partners(words, kin)], words)
    rows = np.where(np.isnan(rows), uniform(words, genes.width, stream=1), rows)
    mutated = _mutated(np.repeat(active, each, axis=0), words)
    rows[:, :-1] = np.where(mutated, _moved(genes, rows[:, :-1], words), rows[:, :-1])
    return genes.snapped(rows)


def _partners(words: Words, kin: Words) -> NDArray[np.intp]:
    """For each child the parent that draws the highest lot: it changes only where that one goes, or a higher comes."""
    partners: NDArray[np.intp] = np.argmax(mixed(words[:, None] ^ kin), axis=1)
    return partners


def _crossed(rows: Floats, others: Floats, words: Words) -> Floats:
    with_two = uniform(words, 1, stream=2) < CROSSED
    swapped = with_two & (uniform(words, rows.shape[1], stream=3) < 0.5)
    return np.where(swapped & ~np.isnan(others), others, rows)


def _mutated(alive: NDArray[np.bool_], words: Words) -> NDArray[np.bool_]:
    """Which genes change, (n, genes): one that the parent has, and some by chance."""
    count = alive.shape[1]
    more = np.floor(2.0 ** (np.floor(4 * uniform(words, 1, stream=4)) - 1))  # 0, 1, 2 or 4 others
    rate = np.minimum(0.5, more / np.maximum(1, alive.sum(axis=1))[:, None])
    chosen: NDArray[np.bool_] = uniform(words, count, stream=5) < rate
    lots = uniform(words, count, stream=6) + alive
    chosen[np.arange(len(words)), np.argmax(lots, axis=1)] = True
    return chosen


def _moved(genes: Genes, units: Floats, words: Words) -> Floats:
    """Every gene at another value: of an ordered one half the time a near one."""
    count = units.shape[1]
    drawn = uniform(words, count, stream=7)
    cells = np.maximum(genes.cells, 1)
    elsewhere = (units + (1 + np.floor(drawn * (cells - 1))) / cells) % 1.0
    anywhere = np.where(genes.cells > 1, elsewhere, drawn)
    length = np.where(genes.cells > 1, 1 / cells, STEP * _bell(uniform(words, count, stream=8)))
    step = np.where(drawn < 0.5, -1.0, 1.0) * length
    ahead = units + step
    near = _reflected(np.where((ahead >= 0) & (ahead < 1), ahead, units - step))
    is_near = genes.ordered & (uniform(words, count, stream=9) < LOCAL)
    return np.where(is_near, near, anywhere)


def _bell(units: Floats) -> Floats:
    """Lengths of steps: mostly short, a few long ones, as a logistic distribution has them."""
    inner: Floats = np.abs(np.log(np.clip(units, 1e-9, 1 - 1e-9) / (1 - np.clip(units, 1e-9, 1 - 1e-9))))
    return inner


def _reflected(units: Floats) -> Floats:
    """Back into [0, 1) where a step left it."""
    folded = np.abs(units) % 2.0
    inside: Floats = np.minimum(np.where(folded > 1, 2.0 - folded, folded), BELOW_ONE)
    return inside
