"""The work of a compression, step by step; what is done already is found in the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.compression.beginning import BEGUN_WITH, beginning_with, begins_anew, has_weights, train_whole
from nas.compression.comparison import Comparison
from nas.compression.evaluating import apart, as_it_is, compressed, costs_of, foretold_costs, task_of
from nas.compression.finding import Costs, find, missed, shortfall, words
from nas.compression.folder import ResultFolder, keep_plan, recorded_plan
from nas.compression.plans import candidate_of
from nas.compression.settings import fine_tuning, study_of
from nas.compression.wishes import Wishes
from nas.data import load
from nas.errors import InputError
from nas.records import Evaluation
from nas.report.details import formats_words, pruning_words
from nas.run_folder.paths import read_evaluation
from nas.study import Study
from nas.tasks import Tell, silent
from nas.workbench import Workbench


def nobody(_: str) -> None:
    """What is said to nobody."""


@dataclass(frozen=True)
class Watched:
    """Who hears of the work: `begin` names what follows, `tell` hears how far it is."""

    begin: Callable[[str], None] = nobody
    tell: Tell = silent


@dataclass(frozen=True)
class Work:
    """Wishes at work in a folder. `bench` has the study that they come to."""

    wishes: Wishes
    folder: ResultFolder
    bench: Workbench
    watched: Watched = Watched()

    @classmethod
    def of(cls, wishes: Wishes, study: Study, folder: ResultFolder, watched: Watched = Watched()) -> Work:
        """Raises InputError where the data cannot be used."""
        data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
        return cls(wishes, folder, Workbench(study, data, folder=folder.work), watched)

    @property
    def study(self) -> Study:
        return self.bench.study

    @property
    def candidate(self) -> Candidate:
        """The compressed network."""
        return candidate_of(self.study, self.wishes)

    @property
    def whole(self) -> Candidate:
        """The network itself."""
        return Candidate(architecture=self.candidate.architecture)

    def wishing(self, wishes: Wishes) -> Work:
        """The same work with other wishes, whose data are the same."""
        bench = replace(self.bench, study=study_of(wishes, self.folder.study), of_size={})
        return replace(self, wishes=wishes, bench=bench)

    def planned(self) -> Work:
        """With a plan that keeps the limits, found where it is not given, or left to the search.

        Raises InputError where none does, and where the plan changes nothing.
        """
        if self.wishes.trials is not None:
            return self
        planned = self.wishing(self._plan()) if self.wishes.finds_a_plan else self
        if planned.candidate.plan == CompressionPlan():
            raise InputError("the plan changes nothing: give --ratio, --format, --rank, or a smaller limit with --max")
        if not self.wishes.finds_a_plan and not self.folder.study.exists():  # later its latency may be another
            self._refuse_missed()
        return planned

    def _plan(self) -> Wishes:
        """The plan that was found, now or by an earlier command."""
        if (found := recorded_plan(self.folder, self.wishes)) is None:
            self.watched.begin("looking for a plan by costs alone")
            found = self._found()
            keep_plan(self.folder, found)
        return found

    def _found(self) -> Wishes:
        """The plan by what is foretold of costs, which takes no file; by the files themselves where that finds none, or
        one whose file says otherwise.
        """

        def say(plan: str) -> None:
            self.watched.begin(f"looking at {plan}")

        try:
            found = find(self.wishes, self._foretold, say=say).wishes
            if not missed(self._costs(found), found.limits):
                return found
        except InputError:  # what is foretold allows for its error
            pass
        return find(self.wishes, self._costs, say=say).wishes

    def _foretold(self, wishes: Wishes) -> Costs:
        told = foretold_costs(self._known(wishes), self.bench, self.wishes.limits)
        return self._costs(wishes) if told is None else told

    def _costs(self, wishes: Wishes) -> Costs:
        """The costs of what these wishes come to."""
        return costs_of(self._known(wishes), self.bench, self.folder.work.path / "tried", self.wishes.limits)

    def _known(self, wishes: Wishes) -> Candidate:
        """What these wishes come to. Raises InputError where its costs depend on weights."""
        candidate = candidate_of(study_of(wishes, self.folder.study), wishes)
        if candidate.depends_on_weights:
            raise InputError(f"--max: expected a plan whose costs are known before training, got {words(wishes)}")
        return candidate

    def _refuse_missed(self) -> None:
        """Raise InputError where the plan as it is given breaks a limit, as far as that is known before training."""
        if not self.wishes.limits or self.candidate.depends_on_weights:
            return
        costs, limits = self._costs(self.wishes), self.wishes.limits
        if missed(costs, limits):
            raise InputError(
                f"--max: the plan that is given, {words(self.wishes)}, breaks it: {shortfall(costs, limits)}; without "
                "--ratio it is found"
            )

    def begun(self) -> Work:
        """With the weights that compression begins with: those given, or those of the whole network, trained first."""
        if not self.folder.whole.exists():
            if not begins_anew(self.whole, self.bench):
                return self.wishing(fine_tuning(self.wishes))
            self.watched.begin("the whole network first")
        first = self.wishing(fine_tuning(self.wishes)) if has_weights(self.whole) else self
        train_whole(first.bench, self.whole, self.study.training.epochs, self.folder.whole, tell=self.watched.tell)
        begun = beginning_with(self.folder.whole, self.study).model_dump(mode="json", include=set(BEGUN_WITH))
        own = {f"space.{key}" for key in BEGUN_WITH}
        others = [one for one in self.wishes.overrides if one.partition("=")[0].strip() not in own]
        return self.wishing(fine_tuning(replace(self.wishes, space={**self.wishes.space, **begun}, overrides=others)))

    def artifact(self, candidate: Candidate) -> Path:
        return self.folder.work.artifact(candidate.id, "final", self.study.search.seed)

    def before(self) -> Path:
        """The evaluated network as it is; its artifact folder."""
        self.watched.begin("the whole network")
        task = task_of(self.study, self.whole, self.artifact(self.whole))
        as_it_is(task, self.bench, tell=self.watched.tell)
        return task.folder

    def after(self) -> Path:
        """The evaluated compressed network; its artifact folder."""
        candidate = self.candidate
        self.watched.begin("the compressed network")
        task = task_of(self.study, candidate, self.artifact(candidate))
        compressed(task, self.bench, tell=self.watched.tell)
        return task.folder

    def comparison(self, before: Path, after: Path) -> Comparison:
        """What is read off both artifact folders."""
        self.watched.begin("comparing")
        first, second = evaluation_in(before), evaluation_in(after)
        plan = f"{formats_words(second.layers)}; {pruning_words(second.layers)}"
        base = str(self.wishes.space.get("base", self.study.name))
        return Comparison(base, plan, first, second, apart(before, after, self.bench), dict(self.study.limits))


def evaluation_in(folder: Path) -> Evaluation:
    found = read_evaluation(folder)
    if found is None or found.measurement is None:
        raise InputError(f"{folder}: expected a finished network, got none")
    return found
