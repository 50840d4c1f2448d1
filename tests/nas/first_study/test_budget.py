"""The numbers that fit into a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.estimate import Estimate, Seconds
from nas.estimate.computing import steps_per_epoch
from nas.first_study.budget import FINAL, TRIAL, Numbers, between, fit, numbers_at, round_down
from nas.study.effort import EFFORTS, Effort

EFFORT = Effort(60, (10, 40), (100, 400), (2, 8), (1000, 4000), 96)
IMAGES = st.integers(2, 3_000_000)


def costing(seconds: float) -> Estimate:
    part = Seconds(seconds / 2, seconds / 2)
    return Estimate(part, part, Seconds(seconds, seconds))


def linear(numbers: Numbers) -> Estimate:
    return costing(float(numbers.trials * numbers.epochs + numbers.finalists * numbers.final_epochs))


def test_the_ends_are_the_least_and_the_most() -> None:
    # 1600 images in batches of 128: 12 full ones and a smaller one.
    assert numbers_at(0, EFFORT, 1600) == Numbers(10, 8, None, 2, 77, None, 128)
    assert numbers_at(1, EFFORT, 1600) == Numbers(40, 31, None, 8, 200, None, 128)
    assert numbers_at(0.5, EFFORT, 1600) == Numbers(20, 16, None, 4, 154, None, 128)


@pytest.mark.parametrize(("images", "batch"), [(20, 16), (255, 16), (256, 32), (512, 64), (1023, 64), (1024, 128)])
def test_small_sets_have_small_batches(images: int, batch: int) -> None:
    assert numbers_at(0, EFFORT, images).batch_size == batch


def test_large_sets_are_cut_where_epochs_would_be_too_few() -> None:
    found = numbers_at(0, EFFORT, 1_000_000)
    assert (found.epochs, found.search_images) == (TRIAL.least, 6400)  # 100 steps of 128 images in two epochs
    assert (found.final_epochs, found.train_images) == (FINAL.least, 32_000)  # 1000 steps in four


def test_tiny_sets_are_not_seen_for_ever() -> None:
    found = numbers_at(1, EFFORTS["thorough"], 20)
    assert (found.epochs, found.final_epochs) == (TRIAL.most, FINAL.most)


@given(IMAGES, st.floats(0, 1), st.sampled_from(list(EFFORTS.values())))
def test_numbers_make_sense(images: int, share: float, effort: Effort) -> None:
    found = numbers_at(share, effort, images)
    most = found.train_images or images
    assert found.final_epochs >= found.epochs >= 1
    assert (found.search_images or 0) <= most <= images
    steps = found.epochs * steps_per_epoch(found.search_images or most, found.batch_size)
    asked = between(effort.trial_steps, share)
    assert steps < 1.6 * asked or found.epochs == TRIAL.least
    assert steps >= 0.9 * asked or found.epochs == TRIAL.most


@given(st.integers(1, 10**9))
def test_rounding_down_keeps_two_digits(count: int) -> None:
    found = round_down(count)
    assert count * 0.9 < found <= count
    assert len(str(found).rstrip("0")) <= 2


@given(st.integers(100, 100_000))
def test_as_much_as_fits(budget: int) -> None:
    every = [numbers_at(notch / 16, EFFORT, 1600) for notch in range(17)]
    fitting = [numbers for numbers in every if linear(numbers).total.low <= budget]
    found = fit(linear, budget, EFFORT, 1600)
    assert found.numbers == (fitting[-1] if fitting else every[0])
    assert found.estimate == linear(found.numbers)
    assert found.seconds == found.estimate.total.low


def test_the_middle_of_a_range_counts() -> None:
    wide = Estimate(Seconds(1, 1), Seconds(1, 1), Seconds(10, 1000))
    assert fit(lambda _: wide, 101, EFFORT, 1600).share == 1
    assert fit(lambda _: wide, 99, EFFORT, 1600).share == 0
