"""What the runtime's logits say about labelled images; needs numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.records import Score, score

Array = np.ndarray[Any, Any]
LARGEST_CONFUSION = 100


def score_logits(logits: Array, labels: Array) -> Score:
    """Every metric of Score from logits (N, classes) and labels (N,)."""
    confusion = confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    found = score(int(np.trace(confusion)), len(labels))
    rows = tuple(tuple(row) for row in confusion.tolist()) if len(confusion) <= LARGEST_CONFUSION else None
    return Score(
        accuracy=found.accuracy,
        se=found.se,
        images=found.images,
        balanced_accuracy=balanced_accuracy(confusion),
        macro_f1=macro_f1(confusion),
        log_loss=log_loss(logits, labels),
        confusion=rows,
    )


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """Counts (classes, classes): rows true class, columns predicted."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(confusion: Array) -> float:
    """Mean recall over the classes that occur."""
    images = confusion.sum(1)
    return float((np.diag(confusion)[images > 0] / images[images > 0]).mean())


def macro_f1(confusion: Array) -> float:
    """Mean over the classes that occur, as truth or as prediction, of 2 TP / (2 TP + FP + FN)."""
    occurrences = confusion.sum(0) + confusion.sum(1)
    return float((2 * np.diag(confusion)[occurrences > 0] / occurrences[occurrences > 0]).mean())


def log_loss(logits: Array, labels: Array) -> float:
    """Mean negative log likelihood of the labels under softmax, in nats."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    return float((np.log(np.exp(shifted).sum(1)) - own).mean())
