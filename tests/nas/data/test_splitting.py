"""The split as plain arithmetic: largest remainders, and groups that stay whole."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from nas.data.grouping import cut_groups
from nas.data.records import Listing
from nas.data.splitting import largest_remainder, split_listing
from nas.errors import InputError
from nas.study import Data

Array = np.ndarray[Any, Any]


def listing(labels: Array, groups: Array | None = None) -> Listing:
    names = tuple(str(label) for label in range(int(labels.max()) + 1))
    where = {"train": np.arange(len(labels))}
    return Listing(names, labels, where, lambda _: Image.new("L", (1, 1)), str, groups=groups)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.data())
def test_largest_remainder_is_exact_and_near_the_quota(sizes: list[int], draw: st.DataObject) -> None:
    total = draw.draw(st.integers(len(sizes), sum(sizes)))
    counts = largest_remainder(sizes, total)
    assert sum(counts) == total
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))
    quotas = [size * total / sum(sizes) for size in sizes]
    if min(quotas) >= 1:  # Hamilton: nobody is a whole seat away
        assert all(abs(count - quota) < 1 for count, quota in zip(counts, quotas, strict=True))


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [([53, 24, 23], 10, [5, 3, 2]), ([5, 5, 5], 7, [3, 2, 2]), ([98, 1, 1], 10, [8, 1, 1]), ([2, 3], 5, [2, 3])],
)
def test_largest_remainder_by_hand(sizes: list[int], total: int, expected: list[int]) -> None:
    assert largest_remainder(sizes, total) == expected


@pytest.mark.parametrize("wanted", [3, 10, 77, 159, 160])
def test_training_images_are_exactly_as_many_as_asked_for(wanted: int) -> None:
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    data = Data(source="digits", validation=0.1, test=0.1, train_images=wanted)
    split = split_listing(listing(labels), data, 0)
    assert len(split.train) == wanted
    assert set(labels[list(split.train)]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("wanted", "expected"), [(2, "at least 3, one per class, got 2"), (161, "at most 160, got 161")]
)
def test_training_images_that_cannot_be_had(wanted: int, expected: str) -> None:
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    with pytest.raises(InputError, match=rf"data\.train_images: expected {expected}"):
        split_listing(listing(labels), Data(source="digits", train_images=wanted), 0)


@given(seed=st.integers(0, 10**6), groups=st.integers(3, 30), classes=st.integers(2, 4), fraction=st.floats(0.05, 0.5))
def test_groups_stay_whole_and_every_class_is_everywhere(seed: int, groups: int, classes: int, fraction: float) -> None:
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), random.integers(1, 9, groups))
    labels = random.integers(0, classes, len(codes))
    per_class = [len(set(codes[labels == label])) for label in range(classes)]
    assume(min(per_class) >= 3)
    found = listing(labels, codes)
    try:
        cut, rest = cut_groups(np.arange(len(codes)), found, fraction, np.random.default_rng(seed), keep=2)
    except InputError:  # only where groups tie classes together so that no cut leaves enough of each
        assert not any(_feasible(codes, labels, classes, chosen) for chosen in _pairs(groups))
        return
    assert sorted([*cut, *rest]) == list(range(len(codes)))
    assert not set(codes[cut]) & set(codes[rest])
    assert set(labels[cut]) == set(range(classes))
    assert all(len(set(codes[rest][labels[rest] == label])) >= 2 for label in range(classes))


def _pairs(groups: int) -> list[tuple[int, ...]]:
    return [chosen for size in (1, 2) for chosen in itertools.combinations(range(groups), size)]


def _feasible(codes: Array, labels: Array, classes: int, chosen: tuple[int, ...]) -> bool:
    inside = np.isin(codes, chosen)
    left = [len(set(codes[~inside & (labels == label)])) >= 2 for label in range(classes)]
    return set(labels[inside]) == set(range(classes)) and all(left)


def test_many_small_groups_are_cut_nearly_exactly() -> None:
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(200), 5)
    labels = np.repeat(random.choice(3, 200, p=[0.6, 0.3, 0.1]), 5)
    cut, _ = cut_groups(np.arange(1000), listing(labels, codes), 0.2, random, keep=1)
    assert np.abs(np.bincount(labels[cut]) - 0.2 * np.bincount(labels)).max() <= 3


def test_one_huge_group_stays_in_train() -> None:
    codes = np.array([0] * 50 + [1, 2, 3, 4] * 5)
    labels = np.arange(70) % 2
    cut, _ = cut_groups(np.arange(70), listing(labels, codes), 0.1, np.random.default_rng(0), keep=1)
    assert 0 not in codes[cut]


def both_classes(*sizes: int) -> Listing:
    """Groups with `sizes` images of each of two classes."""
    codes = np.repeat(np.arange(len(sizes)), [2 * size for size in sizes])
    return listing(np.arange(len(codes)) % 2, codes)


def test_the_largest_group_that_fits_comes_first() -> None:
    found = both_classes(3, 3, 3, 3, 3, 5)  # five of twenty: the last group alone, not two of three
    for seed in range(5):
        cut, _ = cut_groups(np.arange(40), found, 0.25, np.random.default_rng(seed), keep=1)
        assert cut.tolist() == list(range(30, 40))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_as_many_groups_are_kept_as_later_cuts_need(keep: int) -> None:
    cut, rest = cut_groups(np.arange(32), both_classes(4, 4, 4, 4), 0.9, np.random.default_rng(0), keep=keep)
    assert len(rest) == 8 * keep
    assert len(cut) == 32 - 8 * keep
