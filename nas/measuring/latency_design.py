"""Which candidates to measure first: those that tell most about all the others of a space.

Greedy A-optimal design (Cohn 1996, "Neural network exploration using optimal experiment design"): each next one lowers
the summed variance of all candidates most, under the model's own covariance before any data.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.sampling import sample_of
from nas.measuring.latency_regression import NOMINAL_MS, Samples, Settings
from nas.measuring.latency_similarity import correlations
from nas.measuring.latency_terms import Work, work_of
from nas.study import Study
from search_spaces.trials import Pick

DRAWN = 300
BEFORE_DATA = Settings(spread=0.7, correction=0.3, reach=3.0, noise=0.02)


def design(study: Study, num_classes: int, count: int) -> list[Candidate]:
    """At most `count` candidates of the study's space, the most telling first; the same ones every time."""
    drawn = _draw(study, num_classes)
    works = [work_of(candidate, num_classes) for candidate in drawn]
    return [drawn[i] for i in most_telling(works, min(count, len(drawn)))]


def _draw(study: Study, num_classes: int) -> list[Candidate]:
    """Random candidates and the extreme ones, each structure once."""
    choose = random.Random(0).choice
    drawn = [*extreme_candidates(study).values()]
    drawn += [sample_of(Pick(choose), study) for _ in range(DRAWN)]
    return list({candidate.structure_id(num_classes): candidate for candidate in drawn}.values())


def most_telling(works: Sequence[Work], count: int) -> list[int]:
    """The numbers of `count` works, in the order in which to measure them."""
    samples = Samples.of(works, [1.0] * len(works))
    slopes = samples.units * NOMINAL_MS / (samples.units @ NOMINAL_MS)[:, None]
    covariance = BEFORE_DATA.spread**2 * slopes @ slopes.T
    alike = correlations(samples.shares(NOMINAL_MS), samples.blocks, BEFORE_DATA.reach)
    covariance = covariance + BEFORE_DATA.correction**2 * alike
    chosen: list[int] = []
    for _ in range(count):
        own = np.diag(covariance) + BEFORE_DATA.noise**2
        gain = (covariance**2).sum(0) / own
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        covariance = covariance - np.outer(covariance[:, best], covariance[best]) / own[best]
    return chosen
