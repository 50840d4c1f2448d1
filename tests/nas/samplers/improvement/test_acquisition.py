"""What a candidate is worth where it may break a constraint."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.study import StudyDirection
from scipy.stats import norm

from nas.samplers.improvement.acquisition import SURELY, Acquisition
from nas.samplers.models.basis import Basis
from nas.samplers.models.modelling import Models
from nas.samplers.models.scaling import Box
from nas.samplers.spaces.decoding import Decoded
from nas.samplers.spaces.problem import Objectives
from nas.samplers.spaces.units import Genes

OBJECTIVES = Objectives.of([StudyDirection.MINIMIZE] * 2, None)


def candidate_of(**slacks: tuple[float, float]) -> Decoded:
    costs = [(0.5, 0.0), (0.5, 0.0)]
    return Decoded({}, "key", np.zeros(1), [], costs, slacks, np.zeros(0), [np.nan] * 2, modelled=True)


def test_worth_counts_as_far_as_constraints_are_likely_to_be_met() -> None:
    basis = Basis.of([candidate_of()], Genes({}), OBJECTIVES)
    box = Box(np.zeros(2), np.ones(2), np.zeros(2, dtype=np.bool_))
    models = Models(OBJECTIVES, basis, box, [], [0, 1], [], [], [], [])
    candidates = [
        candidate_of(), candidate_of(a=(0.0, 1.0)), candidate_of(a=(-1.0, 1.0), b=(0.5, 0.5)),
        candidate_of(a=(0.0, 0.0)), candidate_of(a=(3.0, 1.0), b=(0.25, 0.0)),
    ]  # fmt: skip
    expected = [1.0, 0.5, norm.cdf(1.0) * norm.cdf(-1.0), 1.0]
    worth = Acquisition.of(models, np.zeros((0, 2)))(candidates)
    assert worth[:4] == pytest.approx(0.25 * np.array(expected))
    assert worth[4] == pytest.approx(-(3.0 - SURELY + 0.25))
