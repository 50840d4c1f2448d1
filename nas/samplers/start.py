"""How a search starts where nothing is known yet: at the cheapest candidate, then wherever no trial has been."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.samplers.improvement.acquisition import surely_broken
from nas.samplers.models.basis import Basis
from nas.samplers.spaces.decoding import Decoded, Decoder, costs_of, distinct
from nas.samplers.spaces.evolution import evolved
from nas.samplers.spaces.pools import random_rows
from nas.samplers.spaces.problem import Objectives
from nas.samplers.spaces.streams import words_of

Floats = NDArray[np.float64]

OFFERED = 60  # random candidates of which the farthest is taken: of more, it would always be an odd one
TRIES = 20  # times as many are drawn where nearly all break a constraint


def cheapest(decoder: Decoder, objectives: Objectives, *, size: int, seed: int) -> Decoded | None:
    """A candidate whose exact costs are low, summed in units of their spread; None where there are none."""
    costs = objectives.minimised(costs_of(decoder.sample)[0])
    known = ~np.isnan(costs).any(axis=0)
    if not known.any():
        return None
    center, spread = costs[:, known].mean(axis=0), np.maximum(costs[:, known].std(axis=0), 1e-12)

    def worth(candidates: Sequence[Decoded]) -> Floats:
        values = (objectives.minimised(costs_of(candidates)[0])[:, known] - center) / spread
        broken = np.array([surely_broken(candidate.slacks) for candidate in candidates])
        cheap: Floats = -values.sum(axis=1)
        return np.where(broken > 0, cheap.min() - 1 - broken, cheap)

    parents: list[Decoded] = []
    for _ in range(3):
        pool = evolved(decoder, parents, worth, seen=set(), size=size, seed=seed)
        parents = pool.candidates[:50]
    return parents[0]


def farthest(
    decoder: Decoder, basis: Basis, taken: Sequence[Decoded], seen: set[Hashable], seed: int
) -> Decoded | None:
    """Of random candidates the one farthest, by features and exact costs, from the nearest taken one (maximin design).

    Candidates that surely break a constraint are passed over while there are others. None where nothing is new.
    """
    offered: list[Decoded] = []
    for attempt in range(TRIES):
        rows = random_rows(decoder.genes, OFFERED, int(words_of(seed, attempt)))
        offered += distinct(decoder.decode(rows), seen | {candidate.key for candidate in offered})
        sound = [candidate for candidate in offered if surely_broken(candidate.slacks) == 0]
        if len(sound) >= OFFERED // 2:
            break
    if not offered:
        return None
    if not sound:
        return min(offered, key=lambda candidate: surely_broken(candidate.slacks))
    if not taken:
        return sound[0]
    here, there = basis.features(sound), basis.features(taken)
    distances = ((here[:, None] - there[None]) ** 2).sum(axis=-1).min(axis=1)
    return sound[int(np.argmax(distances))]
