"""How sure a front is: the probability of each network to be on it, given the noise of its accuracy and its latency."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.objectives import Points, minimised
from nas.pareto import BLOCK, dominated_by, non_dominated
from nas.records import QUALITIES, UNSTABLE
from nas.seeds import over_seeds

Floats = NDArray[np.float64]
Repeated = Sequence[Mapping[str, float]]  # qualities of one candidate's further seeds, by name

# Relative standard deviation of one latency when the file is measured again: 1.4 % were found over five rounds beside
# other work (studies/results/latency.json); an unstable one is the least of passes that differ by more than 2 %.
LATENCY_SD, UNSTABLE_LATENCY_SD = 0.015, 0.05
DRAWS, FEWEST_DRAWS, COMPARISONS = 4000, 400, 100_000_000
PILOT_DRAWS = 100  # of many points
MOST_PAIRED = 500  # points that are compared in pairs; of more, one after the other with those that are left
SURE = 5.0  # standard deviations


def probabilities_on_front(
    values: ArrayLike,
    objectives: Sequence[str],
    *,
    accuracies: Sequence[float | None],
    accuracy_ses: Sequence[float | None],
    flags: Sequence[Collection[str]],
    repeats: Sequence[Repeated] = (),
    seed: int = 0,
) -> Floats:
    """For each row of values (n, m), in the files' units, the probability (n,) that no other row dominates it.

    Of a candidate that was trained again with other seeds (`repeats`) the mean counts. Networks are drawn independently
    of each other; all of them answer the same images, so in truth differences vary less and places are surer.
    """
    values = np.array(values, dtype=np.float64).reshape(-1, len(objectives))
    errors = least_errors(accuracies, accuracy_ses)
    deviations = np.zeros_like(values)
    for column, name in enumerate(objectives):
        if name in QUALITIES:
            groups = _groups(values[:, column], name, repeats)
            values[:, column], deviations[:, column] = over_seeds(groups, errors)
        elif name.partition("@")[0] == "latency_ms":
            relative = [UNSTABLE_LATENCY_SD if UNSTABLE in found else LATENCY_SD for found in flags]
            deviations[:, column] = np.asarray(relative) / np.log(10)  # costs are compared by log10
    return probabilities(minimised(values, objectives), deviations, seed=seed)


def _groups(own: Floats, name: str, repeats: Sequence[Repeated]) -> list[list[float]]:
    further = repeats or [()] * len(own)
    return [
        [float(value), *(again[name] for again in others if name in again)]
        for value, others in zip(own, further, strict=True)
    ]


def least_errors(accuracies: Sequence[float | None], standard_errors: Sequence[float | None]) -> Floats:
    """Standard errors (n,) of accuracies over the same images, none of them 0 only because every answer was right.

    At the ends the binomial error vanishes. Of n images the posterior under Jeffreys' prior keeps about sqrt(1/2) / n
    there (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286); n is read off the errors that do not vanish.
    """
    found = np.array(standard_errors, dtype=np.float64)  # None is NaN
    hits = np.array(accuracies, dtype=np.float64)
    able = found > 0
    if not able.any():
        return np.zeros(len(found))
    images = float(np.median(hits[able] * (1 - hits[able]) / found[able] ** 2))
    least: Floats = np.fmax(found, np.sqrt(0.5) / images)
    return least


def probabilities(points: ArrayLike, deviations: ArrayLike, *, seed: int, draws: int = DRAWS) -> Floats:
    """Shares (n,) of seeded draws in which no other point dominates, of independent normal points (n, m), minimised.

    Points that some other surely dominates are neither drawn nor needed: what they dominate, that other does too. With
    many points left there are fewer draws; at FEWEST_DRAWS a share has a standard error of at most 0.025.
    """
    points, deviations = np.asarray(points, dtype=np.float64), np.asarray(deviations, dtype=np.float64)
    return _shares(points.tobytes(), deviations.tobytes(), points.shape[1], seed, draws).copy()


@lru_cache(maxsize=8)  # table, picture and report of a run ask for the same front
def _shares(points_bytes: bytes, deviations_bytes: bytes, objectives: int, seed: int, draws: int) -> Floats:
    points, deviations = (np.frombuffer(own).reshape(-1, objectives) for own in (points_bytes, deviations_bytes))
    found = np.zeros(len(points))
    able = np.flatnonzero(~surely_dominated(points, deviations))
    if len(able) == 0:
        return found
    draws = int(np.clip(COMPARISONS // len(able) ** 2, min(draws, FEWEST_DRAWS), draws))
    random = np.random.default_rng(seed)
    noise = random.standard_normal((draws, len(able), points.shape[1]))
    noisy = np.flatnonzero(deviations[able].any(axis=0))
    if len(noisy) == 0:
        found[able] = non_dominated(points[able])
        return found
    if len(able) > MOST_PAIRED:
        found[able] = _counted(points[able], deviations[able], noise)
        return found / draws
    exact = np.delete(points[able], noisy, axis=1)
    no_worse, better = _compared(exact)
    for drawn in points[able] + deviations[able] * noise:
        drawn_no_worse, drawn_better = _compared(drawn[:, noisy])
        dominates = no_worse & drawn_no_worse & (better | drawn_better)
        found[able] += ~dominates.any(axis=0)
    return found / draws


def _counted(points: Points, deviations: Points, noise: Points) -> Floats:
    """In how many draws (draws, n, m) no other point dominates each of the points (n, m).

    What is dominated in each of the first PILOT_DRAWS is drawn no further: it counts as on no front.
    """
    found, left = np.zeros(len(points)), np.arange(len(points))
    for number, one in enumerate(noise):
        if number == PILOT_DRAWS:
            left = np.flatnonzero(found)
        found[left] += non_dominated(points[left] + deviations[left] * one[left])
    return found


def _compared(points: Points) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the first index is nowhere worse than the second, and whether it is somewhere better; both (n, n)."""
    shape = (len(points), len(points))
    no_worse, better = np.ones(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for column in points.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return no_worse, better


def surely_dominated(points: Points, deviations: Points) -> NDArray[np.bool_]:
    """Which points another dominates even where chance is against it by SURE standard deviations on either side.

    Only those are asked that none of the unlucky dominates: what another dominates, they do too.
    """
    lucky, unlucky = points - SURE * deviations, points + SURE * deviations
    beaten = np.zeros(len(points), dtype=np.bool_)
    unlucky = unlucky[non_dominated(unlucky)]
    for start in range(0, len(lucky), BLOCK):
        beaten[start : start + BLOCK] = dominated_by(lucky[start : start + BLOCK], unlucky)
    return beaten
