"""Random candidates of a study, drawn as `search.sampler: random` draws them: what layers share is asked once."""

from __future__ import annotations

import optuna

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.samplers.named import make_sampler
from nas.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for each study in memory


def drawn(study: Study, seed: int) -> Candidate:
    trial = optuna.create_study(sampler=make_sampler("random", seed=seed)).ask()
    return sample(trial, study.space, study.compression, input_channels=study.data.input_channels)
