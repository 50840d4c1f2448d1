"""The pool of an ask: from the front and from random candidates to what the acquisition thinks best."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.samplers.spaces.decoding import Decoded, Decoder, distinct
from nas.samplers.spaces.pools import children, random_rows
from nas.samplers.spaces.streams import words_of

Floats = NDArray[np.float64]
Worth = Callable[[Sequence[Decoded]], Floats]

GENERATIONS = 9  # many small ones: each comes of the best that those before it have found
PARENTS = 10  # of a generation: the acquisition's best so far
FIRST = 0.3  # of the pool: the first generation, which looks everywhere
FROM_FRONT = 0.75  # of the first generation; the rest is random


@dataclass(frozen=True)
class Pool:
    """Candidates that no trial has, and what each is worth; the best first."""

    candidates: list[Decoded]
    worth: Floats

    def joined(self, candidates: list[Decoded], worth: Floats) -> Pool:
        together, values = [*self.candidates, *candidates], np.concatenate([self.worth, worth])
        order = np.argsort(-values, kind="stable")
        return Pool([together[place] for place in order], values[order])


def evolved(
    decoder: Decoder, parents: Sequence[Decoded], worth: Worth, *, seen: set[Hashable], size: int, seed: int
) -> Pool:
    """About `size` candidates: a first generation from the parents and at random, others from the best so far."""
    first, known = max(1, round(FIRST * size)), set(seen)
    part = max(1, (size - first) // GENERATIONS)
    near = round(FROM_FRONT * first) if parents else 0
    rows = random_rows(decoder.genes, first - near, int(words_of(seed, 0)))
    if parents:
        rows = np.vstack([_children(decoder, parents, near, int(words_of(seed, 1))), rows])
    pool = _grown(Pool([], np.zeros(0)), decoder, rows, worth, known)
    for generation in range(GENERATIONS):
        if pool.candidates:
            rows = _children(decoder, pool.candidates[:PARENTS], part, int(words_of(seed, 2 + generation)))
            pool = _grown(pool, decoder, rows, worth, known)
    return pool


def _grown(pool: Pool, decoder: Decoder, rows: Floats, worth: Worth, known: set[Hashable]) -> Pool:
    """The pool with what is new in these rows, which is known from then on."""
    new = distinct(decoder.decode(rows), known)
    known.update(candidate.key for candidate in new)
    return pool.joined(new, worth(new)) if new else pool


def _children(decoder: Decoder, parents: Sequence[Decoded], count: int, seed: int) -> Floats:
    rows = np.array([parent.row for parent in parents])
    active = np.array([parent.active for parent in parents], dtype=np.bool_)
    return children(decoder.genes, rows, active, count, seed)
