"""Which candidates a search is expected to train: its anchors, and random draws that keep to the limits. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.sampling import sample_of
from nas.estimate.speed import Known
from nas.runtimes.runtime import FileHeader, runtime_of
from nas.search.anchors import Answer, anchors, midway
from nas.search.draws import RandomTrial
from nas.study import Study
from nas.study.search import MODELLING
from search_spaces.trials import Trial

DRAWS = 64
LEAST_SHARE = 0.02  # of draws that keep to the limits: with fewer a search ends, since nearly all are infeasible


@dataclass(frozen=True)
class Expected:
    """Anchors and draws that keep to the limits; `share_kept` of all draws do.

    `excluded` are the infeasible candidates per trial that is trained, and `excluded_anchors` those it begins with.
    """

    anchors: tuple[Candidate, ...]
    draws: tuple[Candidate, ...]
    share_kept: float
    excluded: float
    excluded_anchors: int


class _Answering:
    """A trial that answers as an anchor does."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._answer(name, range(low, high + 1)))


def expected_candidates(study: Study, *, num_classes: int, known: Sequence[Known] = ()) -> Expected:
    """Drawn from the study's seed. Where no draw keeps to the limits, the smallest network stands in for all.

    A sampler that computes costs proposes few candidates that break a limit; others draw them as often as they come.
    """
    random = np.random.default_rng(study.search.seed)
    fits = partial(keeps_to_limits, study, num_classes=num_classes, known=known)
    draws = tuple(filter(fits, [_draw(study, RandomTrial(random)) for _ in range(DRAWS)]))
    begun = [_draw(study, _Answering(answer)) for answer in anchors(study)]
    kept, share = tuple(filter(fits, begun)), len(draws) / DRAWS
    computes = study.search.sampler in MODELLING
    return Expected(
        anchors=kept,
        draws=draws or (extreme_candidates(study)["smallest"],),
        share_kept=share,
        excluded=0.0 if computes else 1 / max(share, LEAST_SHARE) - 1,
        excluded_anchors=len(begun) - len(kept),
    )


def largest_compressed(study: Study) -> Candidate:
    """The largest network of a single kind of block, pruned and quantized midway."""
    found = [_draw(study, _Answering(answer)) for answer in midway(study)]
    return max(found, key=lambda one: one.macs(1))


def _draw(study: Study, trial: Trial) -> Candidate:
    return sample_of(trial, study)


def keeps_to_limits(study: Study, candidate: Candidate, *, num_classes: int, known: Sequence[Known] = ()) -> bool:
    """Whether what can be said of its costs without building it breaks no limit.

    Latency is that of the networks that were timed, by MACs. Of a candidate that depends on weights only a bound is
    known.
    """
    candidate = candidate.least(num_classes) if candidate.depends_on_weights else candidate
    costs: dict[str, float] = {
        "parameters": candidate.parameters(num_classes),
        "macs": candidate.macs(num_classes),
        "size_bytes": file_bytes(study, candidate, num_classes) or candidate.weight_bytes(num_classes),
    }
    if known:
        costs["latency_ms"] = latency_ms(candidate, num_classes=num_classes, known=known)
    return all(costs.get(name, 0) <= limit for name, limit in study.cost_limits.items())


def file_bytes(study: Study, candidate: Candidate, classes: int) -> float | None:
    """Bytes of the first target's file with short class names, before it is built; None where they cannot be told."""
    shape = study.data.input_channels, candidate.architecture.input_size
    header = FileHeader(*shape, tuple(map(str, range(classes))))
    told = runtime_of(study.target).forecast(candidate, header)
    return told.size_bytes if told is not None else None


def latency_ms(candidate: Candidate, *, num_classes: int, known: Sequence[Known]) -> float:
    """Between the networks that were timed, by the logarithm of MACs; beyond them as the nearest one."""
    points = sorted((math.log(one.candidate.macs(num_classes)), math.log(one.latency_ms)) for one in known)
    macs = math.log(candidate.macs(num_classes))
    return math.exp(float(np.interp(macs, [x for x, _ in points], [y for _, y in points])))
