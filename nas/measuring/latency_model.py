"""A model of latency on one target: predicts candidates that were not measured, with an interval.

It is fitted to measured candidates, a handful or hundreds, of a benchmark before the search or of the search itself. It
steers the search; what a record, a front or a report shows stays measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit  # scipy.stats has them too, and takes a second to import

from nas.candidates.candidate import Candidate
from nas.measuring.latency_kriging import Fitted
from nas.measuring.latency_regression import Prepared, Samples, Settings, choose_settings, prepare
from nas.measuring.latency_terms import Array, Work, work_of

Measured = tuple[Candidate | Work, float]  # a candidate and its milliseconds
COVERAGE = 0.99
FOLDS, BELIEF = 8, 8.0  # samples that the model's own variances count for beside the errors of the folds
FEWEST, MOST = 4, 300
LARGEST_ERROR = 4.0  # in standard deviations: farther off is a disturbed measurement


class LatencyModel:
    """Latency of candidates on one target, in milliseconds: terms of their layers with fitted times, and a correction.

    Candidates may be given as their `Work`, which is half of the arithmetic of a prediction and may be kept.
    """

    def __init__(self, fitted: Fitted, num_classes: int, *, stretch: float, samples: int) -> None:
        self._fitted, self._num_classes, self._stretch = fitted, num_classes, stretch
        self.samples = samples

    @classmethod
    def fit(
        cls, samples: Sequence[Measured], num_classes: int, *, benchmarked: Sequence[Measured] = ()
    ) -> LatencyModel:
        """Fit to measured candidates and their milliseconds. Equal samples in an equal order give an equal model.

        Those `benchmarked` with fewer calls, or on a busier machine, come first and are brought to the level of the
        samples where there are as many as FEWEST.

        Its standard deviations are stretched by the errors that it makes on eighths of the samples that it was not
        fitted to. Of more than MOST samples the newest half of that number is taken, and evenly spaced earlier ones.
        Raises ValueError for fewer than FEWEST samples, and for a latency that is not positive.
        """
        count = len(samples) + len(benchmarked)
        if count < FEWEST:
            raise ValueError(f"a latency model: expected at least {FEWEST} measured candidates, got {count}")
        if wrong := [ms for _, ms in (*benchmarked, *samples) if not (math.isfinite(ms) and ms > 0)]:
            raise ValueError(f"a latency model: expected latencies above 0 ms, got {wrong[0]}")
        if len(samples) >= FEWEST <= len(benchmarked):
            benchmarked = _brought_to(samples, benchmarked, num_classes)
        samples = _thinned([*benchmarked, *samples])
        latencies = [latency for _, latency in samples]
        works = [_work(candidate, num_classes) for candidate, _ in samples]
        prepared = prepare(Samples.of(works, latencies))
        settings = choose_settings(prepared)
        stretch = _stretch(prepared, settings)
        return cls(Fitted(prepared, settings), num_classes, stretch=stretch, samples=len(samples))

    def predict(self, candidate: Candidate | Work) -> tuple[float, float]:
        """Mean and standard deviation in milliseconds."""
        mean, sd = self.predict_all([candidate])[0]
        return float(mean), float(sd)

    def predict_all(self, candidates: Sequence[Candidate | Work]) -> Array:
        """Means and standard deviations (n, 2) in milliseconds.

        The deviations are such that a normal distribution, to whoever takes it for one, has the 99 % intervals' width.
        """
        mean, sd = self._logarithms(candidates)
        sd = sd * self._reach(COVERAGE) / ndtri((1 + COVERAGE) / 2)
        mean_ms = np.exp(mean + sd**2 / 2)
        return np.column_stack([mean_ms, mean_ms * np.sqrt(np.expm1(sd**2))])

    def interval(self, candidate: Candidate | Work, *, coverage: float = COVERAGE) -> tuple[float, float]:
        """The milliseconds between which a measurement lies with this probability."""
        low, high = self.intervals([candidate], coverage=coverage)[0]
        return float(low), float(high)

    def intervals(self, candidates: Sequence[Candidate | Work], *, coverage: float = COVERAGE) -> Array:
        """Ends (n, 2) of the intervals in milliseconds.

        By Student's t: with few samples the settings and the stretch are known only roughly. Half of the samples count
        as degrees of freedom, since settings and stretch are taken from the same ones.
        """
        mean, sd = self._logarithms(candidates)
        reach = self._reach(coverage) * sd
        found: Array = np.exp(np.column_stack([mean - reach, mean + reach]))
        return found

    def _reach(self, coverage: float) -> float:
        """Half of an interval's width, in standard deviations."""
        return float(stdtrit(max(2.0, self.samples / 2), (1 + coverage) / 2))

    def _logarithms(self, candidates: Sequence[Candidate | Work]) -> tuple[Array, Array]:
        mean, sd = self._fitted.predict([_work(candidate, self._num_classes) for candidate in candidates])
        return mean, sd * self._stretch


def _brought_to(samples: Sequence[Measured], benchmarked: Sequence[Measured], num_classes: int) -> list[Measured]:
    """The benchmark's figures times the median ratio of the samples to what the benchmark alone predicts of them."""
    predicted = LatencyModel.fit(benchmarked, num_classes).predict_all([candidate for candidate, _ in samples])[:, 0]
    ratio = float(np.median([latency for _, latency in samples] / predicted))
    return [(candidate, latency * ratio) for candidate, latency in benchmarked]


def _thinned(samples: Sequence[Measured]) -> Sequence[Measured]:
    if len(samples) <= MOST:
        return samples
    earlier, newest = samples[: -MOST // 2], samples[-MOST // 2 :]
    spaced = np.linspace(0, len(earlier) - 1, MOST - len(newest)).round().astype(int)
    return [*(earlier[i] for i in spaced), *newest]


def _work(candidate: Candidate | Work, num_classes: int) -> Work:
    return work_of(candidate, num_classes) if isinstance(candidate, Candidate) else candidate


def _stretch(prepared: Prepared, settings: Settings) -> float:
    """The factor that brings the model's standard deviations to its errors on samples it was not fitted to."""
    latencies = prepared.samples.latency_ms
    fold = np.arange(len(latencies)) % min(FOLDS, len(latencies))
    errors = []
    for number in range(fold.max() + 1):
        left_out = [prepared.samples.works[i] for i in np.flatnonzero(fold == number)]
        mean, sd = Fitted(prepared.some(fold != number), settings).predict(left_out)
        errors.append((np.log(latencies[fold == number]) - mean) / sd)
    squared = np.minimum(np.concatenate(errors) ** 2, LARGEST_ERROR**2)
    return float(np.sqrt((squared.sum() + BELIEF) / (len(squared) + BELIEF)))
