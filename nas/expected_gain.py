"""What a search still expects of more time: how much larger the hypervolume may be after another hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

import numpy as np

RECENT_ASKS = 8  # one ask's expectation is noisy: a model has just been surprised, or has explored
RECENT_TRIALS = 32  # over which a trial's seconds, and the decay, are taken
FASTEST = 4.0  # exponent of a decay; a model that is suddenly sure makes steeper ones, for a while


def relative_gain(noted: Mapping[str, float] | None) -> float | None:
    """The gain that a sampler noted of a proposal, `{"gain": ..., "hypervolume": ...}`, as a share of the present one.

    None where it noted nothing, and where there is no hypervolume yet of which it could be a share.
    """
    if noted is None or noted["hypervolume"] <= 0:
        return None
    return noted["gain"] / noted["hypervolume"]


def gain_per_hour(gains: Sequence[float | None], seconds: Iterable[float | None], *, workers: int = 1) -> float | None:
    """By what share the hypervolume is expected to grow in a further hour.

    `gains` are relative ones, of one trial each, in order, None where nothing was expected; `seconds` what trials took.
    None before there are RECENT_ASKS of them. The newest gains say what a trial adds now; that what trials add will go
    on to fall as it has fallen, as a power of their number, says what those of an hour add. The expectation is a
    model's: one that knows little may think little possible.
    """
    known = [(number, gain) for number, gain in enumerate(gains, 1) if gain is not None]
    took = [second for second in seconds if second is not None][-RECENT_TRIALS:]
    if len(known) < RECENT_ASKS or not took or sum(took) <= 0:
        return None
    level = median(gain for _, gain in known[-RECENT_ASKS:])
    return level * _fading(decay(known[-RECENT_TRIALS:]), len(gains), workers * 3600 / fmean(took))


def decay(known: Sequence[tuple[int, float]]) -> float:
    """The exponent a with which gains fell as n^-a, by least squares over logarithms; 0 where they did not fall."""
    fallen = [(number, gain) for number, gain in known if gain > 0]
    if len(fallen) < 2:
        return 0.0
    numbers, gains = np.log(np.array(fallen)).T
    away = numbers - numbers.mean()
    return float(np.clip(-(away @ gains) / (away @ away), 0.0, FASTEST))


def _fading(exponent: float, done: int, more: float) -> float:
    """How many trials like the last one, of `done`, the next `more` add up to: the integral of (1 + k / done)^-a."""
    ratio = 1 + more / done
    if abs(exponent - 1) < 1e-9:
        return float(done * np.log(ratio))
    return float(done * (ratio ** (1 - exponent) - 1) / (1 - exponent))
