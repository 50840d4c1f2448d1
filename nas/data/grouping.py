"""Cut whole groups off a set: frames of one film, scans of one patient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from nas.data.records import NO_GROUP, Array, Listing
from nas.errors import InputError

ATTEMPTS = 20  # other orders, where the first one cannot give every class to both sides
NEAR, NEAR_BY_CLASS = 0.05, 1 / 3  # of what is asked for, of all images and of each class: nearer needs no refinement
MOST_MOVES, MOST_SWAPPED = 500, 60


def cut_groups(
    indices: Array, listing: Listing, fraction: float, random: np.random.Generator, *, keep: int
) -> tuple[Array, Array]:
    """Cut groups off whose images are about `fraction` of every class.

    The largest groups are looked at first, as in scikit-learn's StratifiedGroupKFold; one is taken where the cut comes
    nearer to its goal by it. Where that ends far from the goal, groups are added, given back and exchanged as long as
    it comes nearer. Both sides hold every class, and `keep` groups of it are left. Raises InputError where there are
    too few groups for that.
    """
    assert listing.groups is not None
    codes = np.unique(listing.groups[indices], return_inverse=True)[1]
    counts = np.zeros((codes.max() + 1, len(listing.class_names)), np.int64)
    np.add.at(counts, (codes, listing.labels[indices]), 1)
    _check(counts, listing, keep)
    goal = np.maximum(1, np.round(fraction * counts.sum(0)))
    for attempt in range(ATTEMPTS):
        order = random.permutation(len(counts))
        order = order[np.argsort(-counts[order].sum(1), kind="stable")] if attempt == 0 else order
        taken = _choose(counts, goal, order, keep, missing_first=attempt > 0)
        missing = np.flatnonzero(counts[taken].sum(0) == 0).tolist()
        if not missing:
            break
    else:
        raise InputError(_too_few(listing, missing[0], "each holds too much of other classes"))
    if not _is_near(counts[taken].sum(0), goal):
        taken = _refined(counts, goal, taken, keep)
    inside = np.isin(codes, taken)
    return indices[inside], indices[~inside]


def check_given_groups(listing: Listing) -> None:
    """Raises InputError where two of the parts that come with the data share a group."""
    assert listing.groups is not None
    for (one, ours), (other, theirs) in combinations(listing.given.items(), 2):
        shared = np.setdiff1d(np.intersect1d(listing.groups[ours], listing.groups[theirs]), [NO_GROUP])
        if len(shared):
            first, second = (part[listing.groups[part] == shared[0]][0] for part in (ours, theirs))
            raise InputError(
                f"data: expected groups that each lie in one part, got {len(shared)} in both {one} and {other}, "
                f"as that of {listing.name(int(first))} and {listing.name(int(second))}"
            )


def _check(counts: Array, listing: Listing, keep: int) -> None:
    for label, groups in enumerate((counts > 0).sum(0).tolist()):
        if groups <= keep:
            raise InputError(_too_few(listing, label, f"expected at least {keep + 1}, got {groups}"))


def _too_few(listing: Listing, label: int, why: str) -> str:
    name = listing.class_names[label]
    return f"data: class {name!r} has too few groups to be split into train, validation and test: {why}"


def _choose(counts: Array, goal: Array, order: Array, keep: int, *, missing_first: bool) -> list[int]:
    """Rows of `counts` (groups, classes): what brings the sum nearer to the goal, and what holds a missing class."""
    left = (counts > 0).sum(0)
    total = np.zeros(counts.shape[1])
    chosen: list[int] = []

    def distance(sums: Array) -> float:
        return float((((sums - goal) / goal) ** 2).sum())

    for only_missing in (missing_first, not missing_first):
        for group in order if not only_missing else order[::-1]:
            own = counts[group] > 0
            spared = group not in chosen and (left[own] > keep).all()
            helps = (total[own] == 0).any() if only_missing else distance(total + counts[group]) < distance(total)
            if spared and helps:
                chosen.append(int(group))
                total, left = total + counts[group], left - own
    return chosen


def _is_near(sums: Array, goal: Array) -> bool:
    off, by_class = abs(sums.sum() / goal.sum() - 1), np.abs(sums / goal - 1)
    return bool(off <= NEAR and by_class.max() <= NEAR_BY_CLASS)


def _refined(counts: Array, goal: Array, taken: Sequence[int], keep: int) -> list[int]:
    """The rows `taken`, changed one or two at a time, always by the change that comes nearest to the goal.

    A change adds a row, gives one back, or exchanges two; of many rows only those that alone come nearest are
    exchanged. Every class stays on both sides, with `keep` rows in the rest.
    """
    inside = np.zeros(len(counts), bool)
    inside[list(taken)] = True
    holds = counts > 0
    distance = float(_distance(counts[inside].sum(0), goal))
    for _ in range(MOST_MOVES):
        sums, groups_left = counts[inside].sum(0), holds[~inside].sum(0)
        outside, within = np.flatnonzero(~inside), np.flatnonzero(inside)
        by_adding = _distance(sums + counts[outside], goal)
        by_returning = _distance(sums - counts[within], goal)
        some_out = outside[np.argsort(by_adding, kind="stable")[:MOST_SWAPPED]]
        some_in = within[np.argsort(by_returning, kind="stable")[:MOST_SWAPPED]]
        added = np.concatenate([outside, np.full(len(within), -1), np.repeat(some_out, len(some_in))])
        returned = np.concatenate([np.full(len(outside), -1), within, np.tile(some_in, len(some_out))])
        change = _rows(counts, added) - _rows(counts, returned)
        left = groups_left - _rows(holds, added).astype(np.int64) + _rows(holds, returned)
        allowed = ((sums + change > 0) & (left >= keep)).all(1)
        new = np.where(allowed, _distance(sums + change, goal), np.inf)
        best = int(np.argmin(new))
        if new[best] >= distance - 1e-12:
            break
        distance = float(new[best])
        inside[[row for row in (added[best], returned[best]) if row >= 0]] ^= True
    return np.flatnonzero(inside).tolist()


def _distance(sums: Array, goal: Array) -> Array:
    """Squared relative distance of every class to its goal, and as much again that of the sum; over the last axis."""
    by_class = (((sums - goal) / goal) ** 2).sum(-1)
    whole: Array = by_class + len(goal) * (sums.sum(-1) / goal.sum() - 1) ** 2
    return whole


def _rows(table: Array, indices: Array) -> Array:
    """Rows of a table; -1 stands for a row of zeros."""
    return np.where(indices[:, None] >= 0, table[indices], 0)
