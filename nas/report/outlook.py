"""What a search still expects: how much another hour of it may add."""

from __future__ import annotations

import pandas as pd

from nas.expected_gain import gain_per_hour
from nas.records import State
from nas.report.figures import significant
from nas.report.tables import records
from nas.study import Study


def expected_per_hour(trials: pd.DataFrame, study: Study) -> float | None:
    """By what share the hypervolume is expected to grow in another hour; None where the sampler does not say."""
    able = trials[trials["state"] != State.DUPLICATE].sort_values("number")
    rows = records(able[["expected_gain", "seconds"]])
    gains, seconds = [row["expected_gain"] for row in rows], [row["seconds"] for row in rows]
    return gain_per_hour(gains, seconds, workers=study.search.worker_count)


def outlook_words(gain: float | None) -> str:
    """A sentence for screens; nothing where nothing is known."""
    if gain is None:
        return ""
    return f"Another hour of the search is expected to enlarge the hypervolume by {significant(100 * gain, 2)} %."
