"""Scores of a file: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data import Images
from nas.measuring.scoring import accuracy, as_float, score_runner
from nas.records import score
from nas.runtimes.runtime import Array


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_standard_error_is_that_of_a_mean(counts: tuple[int, int]) -> None:
    """Of n zeros and ones: their standard deviation over the root of n."""
    correct, images = counts
    outcomes = np.zeros(images)
    outcomes[:correct] = 1
    found = score(correct, images)
    assert found.accuracy == pytest.approx(outcomes.mean())
    assert found.se == pytest.approx(outcomes.std() / images**0.5, abs=1e-9)
    assert found.images == images


@pytest.mark.parametrize(("correct", "images", "se"), [(0, 10, 0.0), (10, 10, 0.0), (50, 100, 0.05), (80, 100, 0.04)])
def test_standard_errors_by_hand(correct: int, images: int, se: float) -> None:
    found = score(correct, images)
    assert (found.accuracy, found.se, found.images) == (correct / images, pytest.approx(se), images)


class Brightness:
    """Stands in for a runner: the class is the tens digit of the first pixel's code."""

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        assert images.dtype == np.float32
        assert float(images.max()) <= 1.0
        codes = (images[:, 0, 0, 0] * 255).round().astype(int)
        logits: Array = np.eye(27, dtype=np.float32)[codes // 10]
        return logits

    def time_us(self, image: Array, runs: int) -> list[float]:
        raise AssertionError("scoring takes no times")

    def input_shape(self) -> tuple[int, int, int]:
        raise AssertionError("scoring knows its images")


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1200])
def test_accuracy_counts_every_image_once(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 1, 2, 2), dtype=np.uint8)
    labels = images[:, 0, 0, 0].astype(np.int64) // 10
    wrong = labels.copy()
    wrong[::3] += 1
    runner = Brightness()
    assert accuracy(runner, Images(images, labels)).accuracy == 1.0
    found = accuracy(runner, Images(images, wrong))
    expected = score(count - len(wrong[::3]), count)
    assert (found.accuracy, found.se, found.images) == (expected.accuracy, expected.se, expected.images)


def test_as_float_is_what_training_sees() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(as_float(codes), (torch.from_numpy(codes).to(torch.float32) / 255).numpy())


def part(count: int) -> Images:
    """Images whose first ten are labelled as `Brightness` answers, and no other."""
    codes = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    labels = codes.ravel().astype(np.int64) // 10
    labels[10:] += 1
    return Images(codes, labels)


def test_every_part_has_the_score_of_its_own() -> None:
    """All of 10 training images right, half of 20 validation images, a quarter of 40 test images."""
    ways: list[None] = []
    scores = score_runner(
        Brightness(), validation=part(20), train=part(10), test=part(40), give_way=lambda: ways.append(None)
    )
    assert scores.train_accuracy == 1.0
    assert (scores.validation.accuracy, scores.validation.images) == (0.5, 20)
    assert scores.test is not None
    assert (scores.test.accuracy, scores.test.images) == (0.25, 40)
    assert len(ways) == 3
    assert score_runner(Brightness(), validation=part(20), train=part(10)).test is None
