"""What is known of latency while a search runs: the model, fitted again as candidates are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nas.candidates.candidate import Candidate
from nas.measuring.latency_model import FEWEST, LatencyModel
from nas.measuring.latency_terms import NOMINAL_NS, Array, Work, work_of

EVERY, GROWTH = 8, 1.2  # fitted again at each measurement up to EVERY, then at so many more
ROUGH_SPREAD = 2.0  # standard deviation of what nominal times say, as a share of it: no candidate is surely too slow


class Latencies:
    """Predictions for one target. What they rest on are the first measured trials, in order of number.

    `calibrated` are candidates measured before the search, in milliseconds. `version` says which trials the model was
    fitted to: predictions are the same while it is.
    """

    def __init__(self, num_classes: int, calibrated: Sequence[tuple[Candidate, float]] = ()) -> None:
        self._num_classes = num_classes
        self._before = [(work_of(candidate, num_classes), latency) for candidate, latency in calibrated]
        self._works: dict[int, Work] = {}
        self._model: LatencyModel | None = None
        self.version: tuple[int, ...] | None = None
        self.update(())

    def update(self, measured: Iterable[tuple[int, Candidate, float]]) -> None:
        """Take in trials that were measured: number, candidate and milliseconds. A trial's figure never changes."""
        given = sorted(measured, key=lambda trial: trial[0])
        used = given[: due(len(given))]
        version = tuple(number for number, _, _ in used)
        if version == self.version:
            return
        self.version = version
        for number, candidate, _ in used:
            if number not in self._works:
                self._works[number] = work_of(candidate, self._num_classes)
        trials = [(self._works[number], latency) for number, _, latency in used]
        enough = len(trials) + len(self._before) >= FEWEST
        self._model = LatencyModel.fit(trials, self._num_classes, benchmarked=self._before) if enough else None

    def predict_all(self, works: Sequence[Work]) -> Array:
        """Means and standard deviations (n, 2) in milliseconds; before there is a model nominal ones, widely spread."""
        if self._model is not None:
            return self._model.predict_all(works)
        nominal_ms = np.array([work.total for work in works]) @ np.array(list(NOMINAL_NS.values())) / 1e6
        return np.column_stack([nominal_ms, ROUGH_SPREAD * nominal_ms])


def due(count: int) -> int:
    """How many of `count` measured trials the model is fitted to."""
    due = min(count, EVERY)
    while (following := max(due + 1, round(due * GROWTH))) <= count:
        due = following
    return due
