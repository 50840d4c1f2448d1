"""What the seconds of a study depend on, and those of one evaluation. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.estimate.candidates import Expected
from nas.estimate.computing import Computed, Course, computed_by
from nas.estimate.speed import Speed
from nas.samplers.halving import Load
from nas.search.rungs import halving_of
from nas.study import Study
from nas.study.search import COPY_SHARE

ALONE = Load()
BEFORE_TRAINING = 0.2  # of what is around a training


@dataclass(frozen=True)
class Plan:
    """A study with all that its seconds depend on; `train_images` are those there are, of which it may use fewer.

    What candidates compute is worked out once and kept, also for the same plan at another speed.
    """

    study: Study
    speed: Speed
    train_images: int
    num_classes: int
    expected: Expected
    _computed: dict[tuple[int, bool], tuple[Candidate, Computed]] = field(default_factory=dict)

    @cached_property
    def in_search(self) -> Course:
        """The training of a search trial, its searched numbers in the middle."""
        study = self.study
        recipe = study.training.resolved(middle_numbers(study.training))
        return Course(recipe, study.search_epochs, self._images(study.search_images), study.search.input_size)

    @cached_property
    def at_last(self) -> Course:
        """The training of a finalist."""
        final = self.study.final_recipe
        recipe = final.resolved(middle_numbers(final))
        return Course(recipe, self.study.final_epochs, self._images(self.study.final_images))

    @cached_property
    def load(self) -> Load:
        """What a search trial that comes to its end carries of those that were stopped for it."""
        halving = halving_of(self.study)
        return ALONE if halving is None else halving.load()

    def training(self, candidate: Candidate, *, final: bool) -> float:
        """Seconds of a training."""
        return self.speed.seconds(self.computed(candidate, final=final).after())

    def computed(self, candidate: Candidate, *, final: bool) -> Computed:
        """What the candidate's training computes."""
        found = self._computed.get((id(candidate), final))
        if found is None or found[0] is not candidate:
            course = self.at_last if final else self.in_search
            found = candidate, computed_by(candidate, course, self.num_classes)
            self._computed[id(candidate), final] = found
        return found[1]

    def job(self, candidate: Candidate, *, final: bool = False, load: Load = ALONE) -> float:
        """Seconds of a worker for one evaluation, as if the measurements, which hold all workers, were its own work."""
        around, begun = self.around(candidate), load.begun - 1
        shared = self.training(candidate, final=final) * (load.trainings + COPY_SHARE * load.looks)
        shared += around * (1 + load.looks + BEFORE_TRAINING * begun)
        return shared + (2 + begun) * self.measuring(candidate)

    def infeasible(self, candidate: Candidate) -> float:
        """Seconds of a worker for a candidate that breaks a limit."""
        return BEFORE_TRAINING * self.around(candidate) + self.measuring(candidate)

    def around(self, candidate: Candidate) -> float:
        return self.speed.around.at(candidate.macs(self.num_classes))

    def measuring(self, candidate: Candidate) -> float:
        """One measurement, in the seconds of all workers."""
        return self.study.search.worker_count * self.speed.measuring.at(candidate.macs(self.num_classes))

    def _images(self, limit: int | None) -> int:
        return self.train_images if limit is None else min(limit, self.train_images)
