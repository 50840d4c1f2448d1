"""What the Pareto sampler is told of a study: how candidates are drawn, what they cost, and what describes them.

Costs are computed from the records; latency is a model's word, which changes as trials are measured. What is worked out
of a candidate is kept from ask to ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.features import Features
from nas.candidates.genes import may_depend_on_weights
from nas.candidates.hyperparameters import Number, Numbers
from nas.measuring.latency_terms import Work, work_of
from nas.records import QUALITIES
from nas.runtimes.runtime import FileForecast, FileHeader, runtime_of
from nas.samplers.spaces.problem import Entry, Known, Scale
from nas.samplers.spaces.recording import GivenTrial, Params
from nas.search.described import Described, Identity, Version
from nas.search.draws import Draws, GeneTrial
from nas.search.latencies import Latencies
from nas.study import Choices, Range, Study

KEPT = 25_000  # candidates that are kept from ask to ask
DIGITS = 6  # of predicted latencies: the last bits depend on how many are predicted at once, an ask must not


class Proposals:
    """A study as `ParetoSampler` takes it: `space`, `costs`, `constraints`, `features` and `scales`.

    `class_names` are the data's: they stand in the file. `latencies` are the models of those that the study is about,
    by name.
    """

    def __init__(self, study: Study, class_names: Sequence[str], latencies: Mapping[str, Latencies]) -> None:
        self._study, self._draws = study, Draws(study)
        self._latencies = {name: latencies[name] for name in study.latencies}
        self._num_classes, self._features = len(class_names), Features.of(study.space)
        self._runtimes = {target.name: runtime_of(target) for target in study.targets}
        sizes, channels = study.space.input_sizes, study.data.input_channels
        self._headers = {size: FileHeader(channels, size, tuple(class_names)) for size in sizes}
        self._known: dict[int, tuple[Params, Described]] = {}
        self._foretold: dict[str, bool] = {}  # by target
        self.costs, self.constraints = Costs(self), Constraints(self)

    @property
    def objectives(self) -> tuple[str, ...]:
        return self._study.objectives

    @property
    def limits(self) -> Mapping[str, float]:
        """Those of costs; a quality is learned, and so is how likely it keeps to its limit."""
        return self._study.cost_limits

    @property
    def scales(self) -> list[Scale]:
        """Costs are compared by ratio, as fronts and hypervolume are."""
        return ["linear" if name in QUALITIES else "log" for name in self._study.objectives]

    @property
    def version(self) -> Version:
        """Changes when predictions do."""
        return tuple(latencies.version for latencies in self._latencies.values())

    def space(self, trial: GeneTrial) -> Identity:
        """Draw a candidate; returns what it comes down to."""
        return self._draw(trial)[1]

    def features(self, params: Params) -> list[float]:
        """Of the network, and of the searched numbers, each where it lies between its bounds."""
        described = self.described(params)
        return [*self._features(described.candidate, self._num_classes).tolist(), *self._places(described.numbers)]

    def described(self, params: Params) -> Described:
        """The candidate of parameters. Raises UnknownGene where they are not of this space."""
        kept = self._known.get(id(params))
        if kept is not None and kept[0] is params:
            return kept[1]
        described, _ = self._draw(GivenTrial(params))
        self._keep(params, described)
        return described

    def prepare(self, many: Sequence[Params]) -> None:
        """Predict the latencies of many candidates at once, which takes a fraction of the time of one by one."""
        if not self._latencies:
            return
        version = self.version
        waiting = [one for one in map(self.described, many) if one.version != version]
        if not waiting:
            return
        works = [self._work(one) for one in waiting]
        for name, latencies in self._latencies.items():
            for one, (mean, sd) in zip(waiting, latencies.predict_all(works).tolist(), strict=True):
                one.latencies[name] = _rounded(mean), _rounded(sd)
        for one in waiting:
            one.version = version

    def cost(self, params: Params, name: str) -> Entry:
        """A cost as the sampler takes it: a number, (mean, standard deviation), or None where only trials tell.

        The bytes of a file differ by tens from their forecast, where zero points of activations are equal: as good as
        exact.
        """
        if self._is_told_by_trials:
            return None
        described = self.described(params)
        cost, _, target = name.partition("@")
        match cost:
            case "parameters":
                return float(described.candidate.parameters(self._num_classes))
            case "macs":
                return float(described.candidate.macs(self._num_classes))
            case "latency_ms":
                self.prepare([params])
                return described.latencies[name]
            case "size_bytes" | "peak_memory_bytes":
                file = self._file(described, target or self._study.target.name)
                return None if file is None else float(getattr(file, cost))
        return None

    @cached_property
    def _is_told_by_trials(self) -> bool:
        """Whether costs may depend on weights."""
        return may_depend_on_weights(self._study)

    def _foretells(self, target: str) -> bool:
        """Whether the files of this space can be foretold; then it is of a network of every kind."""
        if target not in self._foretold:
            spaces = [self._study.model_copy(update={"space": space}) for space in self._study.space.of_one_kind()]
            corners = (candidate for one in spaces for candidate in extreme_candidates(one).values())
            self._foretold[target] = all(self._forecast(corner, target) is not None for corner in corners)
        return self._foretold[target]

    def _draw(self, trial: GeneTrial) -> tuple[Described, Identity]:
        candidate, numbers = self._draws(trial)
        described = Described(candidate, numbers)
        params = getattr(trial, "params", None)  # a trial of the sampler's keeps one mapping for all that follows
        if params is not None:
            self._keep(params, described)
        return described, Identity(candidate, numbers)

    def _keep(self, params: Params, described: Described) -> None:
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[id(params)] = params, described

    def _work(self, described: Described) -> Work:
        if described.work is None:
            described.work = work_of(described.candidate, self._num_classes)
        return described.work

    def _file(self, described: Described, target: str) -> FileForecast | None:
        if target not in described.files:
            described.files[target] = self._forecast(described.candidate, target) if self._foretells(target) else None
        return described.files[target]

    def _forecast(self, candidate: Candidate, target: str) -> FileForecast | None:
        return self._runtimes[target].forecast(candidate, self._headers[candidate.architecture.input_size])

    def _places(self, numbers: Numbers) -> list[float]:
        """Searched training numbers, each from 0 at its lowest to 1 at its highest; words by a 1 at their place."""
        searched = self._study.training.searched.items()
        return [place for name, freedom in searched for place in _places(freedom, numbers[name])]


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _places(freedom: Range[Any] | Choices[Any], value: Number) -> list[float]:
    if isinstance(value, str):
        assert isinstance(freedom, Choices)
        return [float(choice == value) for choice in freedom.choices]
    return [_place(freedom, value)]


def _place(freedom: Range[Any] | Choices[Any], value: float) -> float:
    if isinstance(freedom, Range):
        low, high, log = freedom.low, freedom.high, freedom.log
    else:
        low, high, log = min(freedom.choices), max(freedom.choices), False
    if high <= low:
        return 0.0
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


class Costs:
    """One entry for each objective of the study; its `version` changes when predictions do."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals, self._objectives = proposals, proposals.objectives

    @property
    def version(self) -> Version:
        return self._proposals.version

    def prepare(self, many: Sequence[Params]) -> None:
        self._proposals.prepare(many)

    def __call__(self, params: Params) -> list[Entry]:
        return [None if name in QUALITIES else self._proposals.cost(params, name) for name in self._objectives]


class Constraints:
    """How far above its limit each constrained cost is, relative to the limit; without those that only trials tell."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals, self._limits = proposals, proposals.limits

    @property
    def version(self) -> Version:
        return self._proposals.version

    def __call__(self, params: Params) -> Mapping[str, Known]:
        found: dict[str, Known] = {}
        for name, limit in self._limits.items():
            match self._proposals.cost(params, name):
                case None:
                    continue
                case (mean, sd):
                    found[name] = mean / limit - 1, sd / limit
                case cost:
                    found[name] = cost / limit - 1
        return found
