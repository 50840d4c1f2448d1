"""The latency model while a search goes on: fitted again now and then, always the same for the same trials."""

from __future__ import annotations

from collections.abc import Sequence

from nas.measuring.latency_model import FEWEST, LatencyModel, Measured

EVERY_ONE_BELOW, GROWTH = 30, 1.1


class GrowingLatencyModel:
    """A target's model after any number of measured trials, which a restarted search finds again.

    `benchmarked` are candidates of a calibration with their milliseconds, none where there was none.
    """

    def __init__(self, num_classes: int, benchmarked: Sequence[Measured] = ()) -> None:
        self._num_classes, self._benchmarked = num_classes, benchmarked
        self._rests_on: tuple[float, ...] | None = None
        self._model: LatencyModel | None = None

    def after(self, measured: Sequence[Measured]) -> LatencyModel | None:
        """The model for a search whose trials, in order of number, were measured so; None while they are too few.

        It rests on the first `fitted_to(n)` of the n trials, so that it does not depend on when it was asked for.
        """
        some = measured[: fitted_to(len(measured))]
        rests_on = tuple(latency for _, latency in some)
        if rests_on != self._rests_on:
            self._model = self._fit(some)
            self._rests_on = rests_on
        return self._model

    def _fit(self, measured: Sequence[Measured]) -> LatencyModel | None:
        if len(measured) + len(self._benchmarked) < FEWEST:
            return None
        return LatencyModel.fit(measured, self._num_classes, benchmarked=self._benchmarked)


def fitted_to(trials: int) -> int:
    """How many of the first trials a model is fitted to: every one below 30, then at a tenth more each time."""
    count = min(trials, EVERY_ONE_BELOW)
    while (larger := int(count * GROWTH)) <= trials and count >= EVERY_ONE_BELOW:
        count = larger
    return count
