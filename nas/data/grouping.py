"""Cut whole groups off a set: frames of one film, scans of one patient."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from nas.data.records import NO_GROUP, Array, Listing
from nas.errors import InputError

ATTEMPTS = 20  # other orders, where the first one cannot give every class to both sides


def cut_groups(
    indices: Array, listing: Listing, fraction: float, random: np.random.Generator, *, keep: int
) -> tuple[Array, Array]:
    """Cut groups off whose images are about `fraction` of every class.

    The largest groups are looked at first, as in scikit-learn's StratifiedGroupKFold; one is taken where the cut comes
    nearer to its goal by it. Both sides hold every class, and `keep` groups of it are left. Raises InputError where
    there are too few groups for that.
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
