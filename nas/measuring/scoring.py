"""Accuracies of a file, read off the runtime that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nas.data import Images
from nas.errors import TrainingDiverged
from nas.measuring.metrics import score_logits
from nas.records import Score
from nas.runtimes.onnxruntime import Array, Runner
from nas.workbench import Workbench

TRAIN_IMAGES = 1000


def score_file(
    file: Path, bench: Workbench, *, test: bool, give_way: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Accuracies of the file in the runtime: validation, a sample of train, and test where it may be read.

    `give_way` is called before every batch.
    """
    runner = Runner(file, bench.study.target)
    sample = bench.data.train.spread(TRAIN_IMAGES)
    return {
        "validation": accuracy(runner, bench.data.validation, give_way),
        "train_accuracy": accuracy(runner, sample, give_way).accuracy,
        "test": accuracy(runner, bench.data.load_test(), give_way) if test else None,
    }


def accuracy(runner: Runner, images: Images, give_way: Callable[[], None] = lambda: None) -> Score:
    """Every metric of the file's logits, read off the runtime. Raises TrainingDiverged where they are not finite."""
    logits: list[Array] = []
    for start in range(0, len(images), 512):
        give_way()
        logits.append(runner.predict(as_float(images.images[start : start + 512])))
    found = np.concatenate(logits)
    if not np.isfinite(found).all():
        raise TrainingDiverged("NaN or infinity in the logits of the network's file")
    return score_logits(found, images.labels)


def as_float(images: Array) -> Array:
    """uint8 to float32 in [0, 1]: what a file's input expects."""
    return images.astype(np.float32) / np.float32(255)
