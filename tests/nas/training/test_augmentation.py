"""Batches: every image once an epoch, seeded; flips, crops, mixing and cutting out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from trainings import feed_of

from nas.data import Images
from nas.study import RandAugment
from nas.training.augmentation import Augmentation, Batch, Feed, mix_up, random_crop, random_cutout, random_flip


def order(batches: Sequence[Batch]) -> list[int]:
    return torch.cat([batch.labels for batch in batches]).tolist()


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 3))
def test_epoch_covers_every_image_once(count: int, batch_size: int, seed: int) -> None:
    feed = feed_of(count, batch_size=batch_size, seed=seed)
    batches = list(feed.epoch(seed))
    seen = order(batches)
    alone = count % batch_size == 1  # batch norm cannot use a last batch of one
    assert len(seen) == len(set(seen)) == count - alone
    assert len(batches) == feed.steps
    assert {len(batch.labels) for batch in batches[:-1]} <= {batch_size}
    for batch in batches:
        assert torch.equal(batch.indices, batch.labels)
        assert torch.equal(batch.images, feed.images[batch.labels].float() / 255)


def test_epochs_depend_on_seed_and_epoch_alone() -> None:
    feed = feed_of(40, flip=True, crop_padding=2)
    first, again = list(feed.epoch(3)), list(feed.epoch(3))
    assert order(first) == order(again)
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    others = [feed.epoch(4), feed_of(40, seed=1).epoch(3), feed_of(40).epoch(10_003)]
    assert len({tuple(order(list(batches))) for batches in others} | {tuple(order(first))}) == 4


def test_plain_batches_are_neither_augmented_nor_single() -> None:
    feed = feed_of(17, flip=True, crop_padding=2)
    batches = list(feed.plain(8))
    assert [len(batch) for batch in batches] == [8, 8]
    rows = {tuple(image.flatten().tolist()) for image in feed.images.float() / 255}
    assert all(tuple(image.flatten().tolist()) in rows for batch in batches for image in batch)
    assert [len(batch) for batch in feed.plain(1)] == [8]


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_random_crop_against_slicing(count: int, padding: int, seed: int) -> None:
    batch = torch.randint(0, 256, (count, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    found = random_crop(batch, padding, torch.Generator().manual_seed(seed))
    padded = np.pad(batch.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = [
        [padded[i, :, y : y + 6, x : x + 7] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
        for i in range(count)
    ]
    for image, possible in zip(found.numpy(), windows, strict=True):
        assert any(np.array_equal(image, window) for window in possible)


def test_random_crop_gives_every_image_its_own_of_all_offsets() -> None:
    where = torch.arange(1, 26, dtype=torch.uint8).reshape(1, 1, 5, 5).expand(600, 1, 5, 5)
    found = random_crop(where, 1, torch.Generator().manual_seed(0))
    centres = torch.bincount(found[:, 0, 2, 2].long(), minlength=26)
    assert centres.nonzero().flatten().tolist() == [7, 8, 9, 12, 13, 14, 17, 18, 19]  # the nine around 13
    assert centres[centres > 0].min() > 600 / 9 / 2


def test_flip_mirrors_about_half_of_the_images() -> None:
    feed = feed_of(200, flip=True, batch_size=50)
    mirrored = 0
    for batch in feed.epoch(0):
        original = feed.images[batch.labels].float() / 255
        for image, plain in zip(batch.images, original, strict=True):
            assert torch.equal(image, plain) or torch.equal(image, plain.flip(2))
            mirrored += not torch.equal(image, plain)
    assert 70 <= mirrored <= 130


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count: int = 1, *, channels: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=seeded(seed))


def test_mixed_images_and_labels_belong_together() -> None:
    images = torch.eye(6)[:, :, None, None]  # image i is one-hot in i
    batch = mix_up(Batch(images, torch.arange(6), torch.arange(6)), 1.0, seeded(3))
    assert batch.partner is not None
    for i, partner in enumerate(batch.partner.tolist()):
        expected = batch.keep * images[i] + (1 - batch.keep) * images[partner]
        assert torch.allclose(batch.images[i], expected, atol=1e-6)
    assert sorted(batch.partner.tolist()) == list(range(6))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    batch = Batch(torch.zeros(2, 1, 1, 1), torch.arange(2), torch.arange(2))
    random = seeded(0)
    keeps = np.array([mix_up(batch, alpha, random).keep for _ in range(2000)])
    assert keeps.mean() == pytest.approx(0.5, abs=0.03)
    assert keeps.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_cutout_blackens_one_square_of_each(seed: int, share: float) -> None:
    found = random_cutout(torch.full((4, 2, 10, 10), 9, dtype=torch.uint8), share, seeded(seed))
    for image in found:
        assert torch.equal(image[0], image[1])
        rows, columns = (image[0] == 0).any(1), (image[0] == 0).any(0)
        assert torch.equal(image[0] == 0, rows[:, None] & columns[None, :])
        assert max(int(rows.sum()), int(columns.sum())) <= math.ceil(share * 10)
    whole = (found[:, 0] == 0).flatten(1).sum(1).float().mean()
    assert whole > 0


def test_flips_are_independent() -> None:
    batch = torch.arange(4, dtype=torch.uint8).expand(500, 1, 1, 4).clone()
    mirrored = random_flip(batch, seeded(1))[:, 0, 0, 0] == 3
    assert 200 < int(mirrored.sum()) < 300


def feed(augmentation: Augmentation) -> Feed:
    images = Images(pixels(40).numpy(), np.arange(40))
    return Feed.of(images, torch.device("cpu"), batch_size=16, seed=2, augmentation=augmentation)


EVERYTHING = Augmentation(
    flip=True, crop_padding=1, randaugment=RandAugment(operations=2, magnitude=9), cutout=0.4, mixup=0.3
)


def test_augmented_epochs_repeat_and_differ() -> None:
    own = feed(EVERYTHING)
    for first, again, other in zip(own.epoch(1), own.epoch(1), own.epoch(2), strict=True):
        assert torch.equal(first.images, again.images)
        assert first.keep == again.keep != other.keep
        assert not torch.equal(first.images, other.images)
        assert first.images.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= first.images.min() <= first.images.max() <= 1


def test_the_data_set_is_never_changed() -> None:
    own = feed(EVERYTHING)
    before = own.images.clone()
    list(own.epoch(0))
    assert torch.equal(own.images, before)
