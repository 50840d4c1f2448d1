"""Which sampler answers the next ask of a search: the study's, or one with an anchor's or given answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from optuna.samplers import BaseSampler

from nas.candidates.candidate import Candidate
from nas.records import UNSTABLE, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialNotes, TrialRow
from nas.samplers.given import Anchored, Replayed
from nas.samplers.named import make_sampler, seed_of
from nas.search.anchors import anchors
from nas.search.earlier import earlier_runs
from nas.search.modelled import Calibrated, Measured, Modelled, grid_of
from nas.study import Study

LATENCY = "latency_ms"


class Sampling:
    """The samplers of a study. One with a model, or a grid, lives as long as the search; others are made for each ask.

    `class_names` are the data's, `calibrated` candidates measured before the search: both as `Modelled` takes them.
    """

    def __init__(self, study: Study, folder: RunFolder, class_names: Sequence[str], calibrated: Calibrated) -> None:
        self._study, self._folder = study, folder
        self._class_names, self._calibrated = class_names, calibrated
        self._anchors = anchors(study)
        self._grid = grid_of(study) if study.search.sampler == "grid" else None
        self._measured: dict[int, tuple[int, Candidate, Mapping[str, float]]] = {}

    @property
    def anchored(self) -> int:
        """How many trials, the first ones, are anchors."""
        return len(self._anchors)

    def next(
        self,
        number: int,
        rows: Sequence[TrialRow],
        notes: Callable[[int], TrialNotes],
        values: Mapping[str, Any] | None,
    ) -> BaseSampler:
        """The sampler for trial `number`, or one that answers with `values`; `rows` are the finished trials."""
        made = self._made(number, rows, notes)
        if values is not None:
            return Replayed(made, values)
        if number < len(self._anchors):
            return Anchored(made, self._anchors[number])
        return made

    def _made(self, number: int, rows: Sequence[TrialRow], notes: Callable[[int], TrialNotes]) -> BaseSampler:
        search = self._study.search
        if search.sampler == "pareto":
            return self.modelled.sampler(self._latencies(rows, notes))
        if self._grid is not None:
            return self._grid
        population = search.population or default_population(search.trials)
        return make_sampler(search.sampler, seed=seed_of(search.seed, number), population=population)

    @cached_property
    def modelled(self) -> Modelled:
        """The Pareto sampler and its models, made at the first ask."""
        return Modelled(self._study, self._class_names, self._calibrated, earlier_runs(self._study, self._folder))

    def _latencies(self, rows: Sequence[TrialRow], notes: Callable[[int], TrialNotes]) -> Measured:
        """Number, candidate and costs of every trial that was measured undisturbed, infeasible ones too."""
        for row in rows:
            own = row.state is not State.DUPLICATE and LATENCY in row.costs and UNSTABLE not in row.flags
            if own and row.number not in self._measured:
                self._measured[row.number] = row.number, notes(row.number).candidate, row.costs
        return self._measured.values()


def default_population(trials: int) -> int:
    """About four generations, neither tiny nor beyond Optuna's default of 50."""
    return min(50, max(8, trials // 4))
