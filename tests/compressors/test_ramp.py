"""How fast zeros grow."""

from __future__ import annotations

import pytest

from compressors.ramp import cubic


def test_the_share_of_zeros_grows_by_a_cubic_and_stops() -> None:
    """Zhu and Gupta, equation 1, from no zeros on: s_f + (s_i - s_f) (1 - t)^3."""
    for t in (0.0, 0.25, 0.5, 1.0):
        assert 0.8 * cubic(t) == pytest.approx(0.8 + (0.0 - 0.8) * (1 - t) ** 3)
    assert cubic(1.8) == 1.0
