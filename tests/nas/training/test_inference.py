"""Passes without gradients: predictions in batches, and the images for calibration."""

from __future__ import annotations

import torch
from trainings import feed_of, small_network

from nas.training.inference import CALIBRATION_BATCHES, CalibrationBatches, predict


def test_predictions_depend_on_no_batch() -> None:
    network, feed = small_network(20).train(), feed_of(20)
    whole = predict(network, feed.images)
    assert whole.shape == (20, 20)
    assert not whole.requires_grad
    assert not network.training
    assert torch.allclose(predict(network, feed.images, batch=7), whole, atol=1e-6)


def test_calibration_takes_the_same_first_batches_every_time() -> None:
    feed = feed_of(200, flip=True, crop_padding=1)
    batches = CalibrationBatches(feed)
    first, again = list(batches), list(batches)
    assert len(first) == CALIBRATION_BATCHES
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert all(torch.equal(*pair) for pair in zip(first, feed.plain(CALIBRATION_BATCHES), strict=True))
