"""Accuracies of a file, read off the runtime that runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from nas.data import Images
from nas.errors import TrainingDiverged
from nas.measuring.metrics import score_logits
from nas.records import Score, Scores
from nas.runtimes.runtime import Array

IMAGES_AT_ONCE = 512


class Predicts(Protocol):
    """What is scored: a file that a runtime has opened, or a network."""

    def predict(self, images: Array) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1]."""
        ...


def score_runner(
    runner: Predicts,
    *,
    validation: Images,
    train: Images,
    test: Images | None = None,
    give_way: Callable[[], None] = lambda: None,
) -> Scores:
    """Scores on every part that is given; `give_way` is called before every batch."""
    return Scores(
        validation=accuracy(runner, validation, give_way),
        train_accuracy=accuracy(runner, train, give_way).accuracy,
        test=accuracy(runner, test, give_way) if test is not None else None,
    )


def accuracy(runner: Predicts, images: Images, give_way: Callable[[], None] = lambda: None) -> Score:
    """Every metric of the file's logits, read off the runtime. Raises TrainingDiverged where they are not finite."""
    logits: list[Array] = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        give_way()
        logits.append(runner.predict(as_float(images.images[start : start + IMAGES_AT_ONCE])))
    found = np.concatenate(logits)
    if not np.isfinite(found).all():
        raise TrainingDiverged("NaN or infinity in the logits of the network's file")
    return score_logits(found, images.labels)


def as_float(images: Array) -> Array:
    """uint8 to float32 in [0, 1]: what a file's input expects."""
    return images.astype(np.float32) / np.float32(255)
