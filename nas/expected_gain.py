"""What a search still expects of more time: how much larger the hypervolume may be after another hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

RECENT_ASKS = 8  # one ask's expectation is noisy: a model has just been surprised, or has explored
RECENT_TRIALS = 32  # over which a trial's seconds are taken


def relative_gain(noted: Mapping[str, float] | None) -> float | None:
    """The gain that a sampler noted of a proposal, `{"gain": ..., "hypervolume": ...}`, as a share of the present one.

    None where it noted nothing, and where there is no hypervolume yet of which it could be a share.
    """
    if noted is None or noted["hypervolume"] <= 0:
        return None
    return noted["gain"] / noted["hypervolume"]


def gain_per_hour(gains: Sequence[float | None], seconds: Iterable[float | None], *, workers: int = 1) -> float | None:
    """By what share the hypervolume is expected to grow per further hour, at the rate of the newest proposals.

    `gains` are relative ones, of one trial each, in order, None where nothing was expected; `seconds` what trials took.
    None before there are RECENT_ASKS of them. The expectation is a model's: it falls as the front comes near to what
    the model thinks possible, and a model that knows little may think little possible.
    """
    known = [gain for gain in gains if gain is not None]
    took = [second for second in seconds if second is not None][-RECENT_TRIALS:]
    if len(known) < RECENT_ASKS or not took or sum(took) <= 0:
        return None
    return median(known[-RECENT_ASKS:]) * workers * 3600 / fmean(took)
