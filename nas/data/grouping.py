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
DIGITS = 9  # by which changes are compared, so that equal ones are equal on every machine


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
    points, target = _as_points(counts, goal)
    held = np.nonzero(counts)  # with many classes nearly all are zero
    inside = np.zeros(len(counts), bool)
    inside[list(taken)] = True
    for _ in range(MOST_MOVES):
        near = _change_by_row(points, held, points[inside].sum(0) - target, inside)
        rows = _best_change(counts, held, points, near, inside, keep)
        if not rows:
            break
        inside[rows] ^= True
    return np.flatnonzero(inside).tolist()


def _as_points(counts: Array, goal: Array) -> tuple[Array, Array]:
    """A point for each row (rows, classes + 1), and where the sum of those taken should lie.

    Its squared distance from there is that of every class, relative to its goal, and as much again that of the sum.
    """
    weight = np.sqrt(len(goal))
    points = np.column_stack([counts / goal, weight * counts.sum(1) / goal.sum()])
    return points, np.append(np.ones(len(goal)), weight)


def _change_by_row(points: Array, held: tuple[Array, ...], off: Array, inside: Array) -> Array:
    """How the squared length of `off`, from the target to the sum inside, changes when each row alone changes sides."""
    rows, columns = held
    own, size, signs = points[held], points[:, -1], np.where(inside, -2, 2)
    by_class = np.bincount(rows, own * (own + signs[rows] * off[columns]), len(points))
    return np.asarray(by_class + size * (size + signs * off[-1]))


def _best_change(
    counts: Array, held: tuple[Array, ...], points: Array, alone: Array, inside: Array, keep: int
) -> list[int]:
    """The row, or one of each side, whose change of sides comes nearest; none where nothing permitted comes nearer.

    held: where `counts` is not 0. alone: see `_change_by_row`. Permitted is what leaves every class inside, and `keep`
    rows of it outside.
    """
    rows, columns = held
    sums, left = counts[inside].sum(0), np.bincount(columns[~inside[rows]], minlength=counts.shape[1])
    takes_last = np.where(inside[rows], counts[held] == sums[columns], left[columns] <= keep)
    permitted = np.bincount(rows, takes_last, len(counts)) == 0
    order = np.argsort(np.round(alone, DIGITS), kind="stable")
    outs, ins = (order[inside[order] == side][:MOST_SWAPPED] for side in (False, True))
    exchanged = alone[outs][:, None] + alone[ins] - 2 * _products(points[outs], points[ins])
    of_outs, of_ins = counts[outs] > 0, counts[ins] > 0
    lost = _products(of_outs & (left <= keep), ~of_ins) + _products(~of_outs, of_ins & (counts[ins] == sums))
    found = np.concatenate([np.where(permitted, alone, np.inf), np.where(lost > 0, np.inf, exchanged).ravel()])
    found = np.round(found, DIGITS)
    at = int(np.argmin(found))
    if found[at] >= 0:
        return []
    out, in_ = divmod(at - len(points), len(ins))
    return [at] if at < len(points) else [int(outs[out]), int(ins[in_])]


def _products(ours: Array, theirs: Array) -> Array:
    """Of every row with every row; not by a matrix product, whose last digits differ between machines."""
    products: Array = np.einsum("oc,ic->oi", ours.astype(float), theirs.astype(float))
    return products
