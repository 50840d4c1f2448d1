"""The samplers that live through a whole search: one by models, which are told what trials measured, and a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from nas.candidates.candidate import Candidate
from nas.data import class_count
from nas.errors import InputError
from nas.samplers.grid import LARGEST, GridSampler
from nas.samplers.pareto import ParetoSampler
from nas.samplers.spaces.recording import Params
from nas.search.beliefs import Beliefs
from nas.search.draws import Draws
from nas.search.earlier import EarlierRun
from nas.search.latencies import Latencies
from nas.search.proposals import Proposals
from nas.study import Study

STARTUP = 8  # trials before the model decides
WARM_STARTUP = (
    3  # where earlier runs tell of candidates (studies/benchmarks/search/warm_start.py: .958, not .894, after 5)
)
POOL_SIZE = 2000  # candidates that are compared in an ask
Calibrated = Mapping[str, Sequence[tuple[Candidate, float]]]
Measured = Iterable[tuple[int, Candidate, Mapping[str, float]]]
NOTHING: Calibrated = MappingProxyType({})


class Modelled:
    """The Pareto sampler of a study, and the models of the latencies that the study is about.

    `class_names` are the data's (none: as many short ones as it has), `calibrated` candidates that were measured before
    the search, by latency, with their milliseconds, `earlier` the runs by whose accuracies it is warmed up.
    """

    def __init__(
        self,
        study: Study,
        class_names: Sequence[str] = (),
        calibrated: Calibrated = NOTHING,
        earlier: Sequence[EarlierRun] = (),
    ) -> None:
        names = class_names or [f"class {number}" for number in range(class_count(study.data))]
        self._latencies = {name: Latencies(len(names), calibrated.get(name, ())) for name in study.latencies}
        self.proposals = Proposals(study, names, self._latencies)
        self._sampler = ParetoSampler(
            self.proposals.space,
            self.proposals.costs,
            self.proposals.features,
            seed=study.search.seed,
            startup=WARM_STARTUP if earlier else STARTUP,
            pool_size=POOL_SIZE,
            constraints=self.proposals.constraints if study.cost_limits else None,
            priors=Priors(self.proposals, Beliefs(study, len(names), earlier)) if earlier else None,
            scales=self.proposals.scales,
        )

    def sampler(self, measured: Measured) -> ParetoSampler:
        """For the next ask; `measured` are trials with a latency so far: number, candidate and costs by name."""
        trials = list(measured)
        for name, latencies in self._latencies.items():
            latencies.update((number, candidate, costs[name]) for number, candidate, costs in trials if name in costs)
        return self._sampler


class Priors:
    """What is believed of each objective beforehand; its `version` never changes, so that it is asked once."""

    version: tuple[int, ...] = ()

    def __init__(self, proposals: Proposals, beliefs: Beliefs) -> None:
        self._proposals, self._beliefs = proposals, beliefs

    def __call__(self, params: Params) -> Sequence[float | None]:
        return self._beliefs(self._proposals.described(params).candidate)


def grid_of(study: Study) -> GridSampler:
    """Every candidate of a small space. Raises InputError where it is too large, or a number is searched in a range."""
    if problem := grid_problem(study):
        raise InputError(problem)
    return GridSampler(Draws(study).as_record, seed=study.search.seed)


def grid_problem(study: Study) -> str:
    """Why a study cannot be searched by a grid; empty where it can."""
    ways = Draws(study).ways
    if ways <= LARGEST:
        return ""
    came = f"one of {ways:,}" if ways < float("inf") else "training numbers that are searched in a range"
    return f"search.sampler: grid: expected a space of at most {LARGEST:,} candidates, got {came}"
