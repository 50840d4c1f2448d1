"""Metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics as sklearn

from nas.measuring.metrics import score_logits


@given(seed=st.integers(0, 999), classes=st.integers(2, 6), images=st.integers(2, 60))
def test_scores_are_those_of_scikit_learn(seed: int, classes: int, images: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes)).astype(np.float32) * 3 + 2 * np.eye(classes)[labels]
    guesses = logits.argmax(1)
    found = score_logits(logits, labels)
    assert found.accuracy == pytest.approx(sklearn.accuracy_score(labels, guesses))
    assert found.macro_f1 == pytest.approx(sklearn.f1_score(labels, guesses, average="macro"))
    expected = sklearn.recall_score(labels, guesses, average="macro", labels=np.unique(labels), zero_division=0)
    assert found.balanced_accuracy == pytest.approx(expected)
    matrix = sklearn.confusion_matrix(labels, guesses, labels=np.arange(classes))
    assert np.array_equal(found.confusion, matrix)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    assert found.log_loss == pytest.approx(sklearn.log_loss(labels, shares, labels=np.arange(classes)), rel=1e-5)
    assert found.images == images


def test_rows_are_true_classes_and_columns_predictions() -> None:
    found = score_logits(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 0, 0]))
    assert found.confusion == ((1, 2), (0, 0))


def test_large_logits_do_not_overflow() -> None:
    found = score_logits(np.array([[1000.0, 0.0], [1000.0, 0.0]], np.float32), np.array([0, 1]))
    assert found.log_loss == pytest.approx(500)


def test_many_classes_have_no_confusion_matrix() -> None:
    assert score_logits(np.eye(100), np.arange(100)).confusion is not None
    found = score_logits(np.eye(101), np.arange(101))
    assert (found.confusion, found.macro_f1, found.balanced_accuracy) == (None, 1, 1)


def test_a_logit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        score_logits(np.array([[np.nan, 1.0]]), np.array([0]))
