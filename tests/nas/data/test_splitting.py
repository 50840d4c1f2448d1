"""The split as plain arithmetic: largest remainders, and groups that stay whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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
