"""The distance of two networks' answers, against torch's own functions and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from nas.compression.logits import distance

LOGITS = arrays(np.float32, (5, 4), elements=st.floats(-20, 20, width=32))


@given(LOGITS, LOGITS)
def test_it_is_what_torch_computes(before: np.ndarray, after: np.ndarray) -> None:  # type: ignore[type-arg]
    found = distance(before, after)
    first, second = (torch.from_numpy(logits).double() for logits in (before, after))
    kl = F.kl_div(F.log_softmax(second, 1), F.log_softmax(first, 1), log_target=True, reduction="batchmean")
    assert found.kl == pytest.approx(max(0.0, kl.item()), abs=1e-9)
    assert found.mse == pytest.approx(F.mse_loss(second, first).item(), rel=1e-9, abs=1e-12)
    assert found.agreement == (before.argmax(1) == after.argmax(1)).mean()
    assert found.images == 5


def test_closed_forms() -> None:
    """Of two classes: KL of (3/4, 1/4) from (1/2, 1/2), and the square of a shift that changes no probability."""
    found = distance(np.log([[3.0, 1.0]]), np.log([[1.0, 1.0]]))
    assert found.kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    shifted = distance(np.array([[1.0, 2.0]]), np.array([[4.0, 5.0]]))
    assert (shifted.kl, shifted.mse, shifted.agreement) == (pytest.approx(0.0), 9.0, 1.0)


def test_huge_logits_are_no_matter() -> None:
    found = distance(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]))
    assert found.kl == pytest.approx(1e4)
    assert found.agreement == 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
        distance(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected two arrays"):
        distance(np.zeros((0, 3)), np.zeros((0, 3)))
