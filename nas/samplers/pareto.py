"""A sampler for few evaluations of one or several objectives: it learns only what it cannot compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.samplers.gene_by_gene import Proposing
from nas.samplers.given import Answer, anchored
from nas.samplers.improvement.acquisition import Acquisition, points_of
from nas.samplers.models.basis import Basis
from nas.samplers.models.history import History, read
from nas.samplers.models.modelling import Memory, Modelling
from nas.samplers.models.scaling import box_of, leading
from nas.samplers.spaces.decoding import Decoded, Decoder, costs_of
from nas.samplers.spaces.evolution import evolved
from nas.samplers.spaces.inferred import InferredSpace, infer_space
from nas.samplers.spaces.pools import BLOCK
from nas.samplers.spaces.problem import Constraints, Costs, Features, Objectives, Priors, Problem, Scale
from nas.samplers.spaces.recording import Params, question_of, unit_by_name, value_at
from nas.samplers.spaces.streams import words_of
from nas.samplers.spaces.units import Space
from nas.samplers.start import cheapest, farthest

GAIN = "pareto:gain"  # a trial's system attribute: {"gain": ..., "hypervolume": ...}, shares of the box
LEAST_KNOWN = 3  # finished trials before a model is asked


class ParetoSampler(Proposing):
    """Proposes the candidate with the largest expected hypervolume improvement (Emmerich 2005, here in closed form).

    Objectives that `costs` computes enter exactly; a Gaussian process over features and costs learns the others from
    the trials. Running trials count as if they had ended as expected. An ask depends on the seed, the trial's number
    and the study alone: another sampler of the same arguments, in another process, says the same.

    Args:
        space: Draws from a trial (`suggest_categorical`, `suggest_int`, `suggest_float`), and may return a hashable:
            what was drawn, so that several ways to draw the same are one candidate. It must ask what the objective
            asks, and nothing else. None: the genes of the trials so far.
        costs: Of parameters, one entry for each objective in the study's order: None where it must be learned, a number
            where it is exact, (mean, standard deviation) where a model says it; such a mean is taken for the cost. A
            function with an attribute `version` is asked again only where that has changed.
        features: Of parameters, numbers that describe the candidate, always equally many. None: its genes.
        startup: Trials before the model decides: anchors too, and those stopped early that were scored at a rung.
        pool_size: Candidates that are compared in an ask.
        constraints: Of parameters, constraint values by name, positive where broken, as numbers or (mean, standard
            deviation). Other constraints that trials are told (`trial.set_constraint`) are learned.
        priors: Of parameters, what is believed of each objective beforehand, or None.
        scales: On which an objective is compared, linear or log; linear by default.
        reference_point: Raw values beyond which nothing counts; inferred, as a whole or where an entry is None.
        anchors: The first trials: each answers a gene's name and choices. Of a range the middle is taken.
    """

    def __init__(
        self,
        space: Space | None,
        costs: Costs | None = None,
        features: Features | None = None,
        *,
        seed: int,
        startup: int = 8,
        pool_size: int = 2000,
        constraints: Constraints | None = None,
        priors: Priors | None = None,
        scales: Sequence[Scale] | None = None,
        reference_point: Sequence[float | None] | None = None,
        anchors: Sequence[Answer] = (),
    ) -> None:
        super().__init__()
        for name, value, least in (("seed", seed, 0), ("startup", startup, 1), ("pool_size", pool_size, 1)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        self._space, self._costs, self._features = space, costs, features
        self._constraints, self._priors = constraints, priors
        self._seed, self._startup, self._pool_size = int(seed), int(startup), int(pool_size)
        self._scales, self._reference_point, self._anchors = scales, reference_point, tuple(anchors)
        self._decoders: tuple[InferredSpace | None, Objectives, Decoder, Basis] | None = None
        self._memory = Memory()

    def _choice(self, study: optuna.Study, trial: FrozenTrial) -> Params:
        proposed = self._propose(study, trial) if trial.number >= len(self._anchors) else None
        return proposed.params if proposed is not None else {}

    def _unchosen(self, trial: FrozenTrial, gene: str, distribution: BaseDistribution) -> Any:
        if trial.number < len(self._anchors):
            return anchored(self._anchors[trial.number], gene, distribution)
        return value_at(question_of(distribution), unit_by_name(gene, float(words_of(self._seed, trial.number))))

    def _propose(self, study: optuna.Study, trial: FrozenTrial) -> Decoded | None:
        """The candidate for a trial; None where nothing is known of the space, or nothing in it is new."""
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        objectives = Objectives.of(study.directions, self._scales)
        found = self._decoder(trials, objectives)
        if found is None:
            return None
        decoder, basis = found
        decoder.begin()
        history = read(
            trials, decoder.given, chosen=self._chosen, finished=self._memory.finished, renewed=decoder.renewed
        )
        known = len(history.told) + len(history.infeasible)
        scored = sum(bool(entrant.rungs) for entrant in history.stopped)
        if known < LEAST_KNOWN or known + scored + len(history.running) < self._startup:
            return self._started(decoder, basis, history, objectives, trial.number)
        return self._improved(study, trial, decoder, basis, history, objectives)

    def _decoder(self, trials: Sequence[FrozenTrial], objectives: Objectives) -> tuple[Decoder, Basis] | None:
        """What decodes the space, made once; again where an inferred space has grown, or the objectives are others."""
        inferred = infer_space(trials) if self._space is None else None
        space = self._space if self._space is not None else inferred
        if space is None:
            return None
        if self._decoders is None or self._decoders[:2] != (inferred, objectives):
            problem = Problem(space, self._costs, self._features, self._constraints, self._priors)
            decoder = Decoder(problem, objectives, self._seed)
            self._decoders = inferred, objectives, decoder, Basis.of(decoder.sample, decoder.genes, objectives)
            self._memory = Memory()
        return self._decoders[2:]

    def _started(
        self, decoder: Decoder, basis: Basis, history: History, objectives: Objectives, number: int
    ) -> Decoded | None:
        everyone = [*history.told, *history.infeasible, *history.running]
        if not everyone and number == 0:
            first = cheapest(decoder, objectives, size=self._pool_size, seed=self._seed)
            if first is not None:
                return first
        taken = [entrant.candidate for entrant in everyone]
        return farthest(decoder, basis, taken, history.seen, int(words_of(self._seed, number)))

    def _improved(
        self, study: optuna.Study, trial: FrozenTrial, decoder: Decoder, basis: Basis, history: History,
        objectives: Objectives,
    ) -> Decoded | None:  # fmt: skip
        """The candidate that is expected to add most."""
        told = history.values.reshape(-1, len(objectives))
        sample = costs_of(decoder.sample)[0]
        box = box_of(told, sample, self._reference_point, objectives)
        notable = [history.told[place].number for place in leading(box.scaled(objectives.minimised(told)))]
        notes = study._storage.get_study_system_attrs(study._study_id)
        modelling = Modelling(history, objectives, basis, box, notes, self._memory)
        learned = np.flatnonzero(np.isnan(sample).any(axis=0)).tolist()
        models = modelling.models(learned, notable=frozenset(notable))
        candidates = [entrant.candidate for entrant in (*history.told, *history.running)]
        acquisition = Acquisition.of(models, points_of(models, told, candidates[len(told) :]))
        pool = evolved(
            decoder, [candidates[place] for place in leading(acquisition.points)], acquisition, seen=history.seen,
            size=self._pool_size, seed=int(words_of(self._seed, trial.number // BLOCK)),
        )  # fmt: skip
        for key, value in modelling.written.items():
            study._storage.set_study_system_attr(study._study_id, key, value)
        if not pool.candidates:
            return None
        gain = {"gain": max(0.0, float(pool.worth[0])), "hypervolume": acquisition.hypervolume}
        study._storage.set_trial_system_attr(trial._trial_id, GAIN, gain)
        return pool.candidates[0]


def gain_of(trial: FrozenTrial) -> Mapping[str, float] | None:
    """What a trial was expected to add when it was proposed, and the hypervolume then; None for one of the start."""
    gain: Mapping[str, float] | None = trial.system_attrs.get(GAIN)
    return gain
