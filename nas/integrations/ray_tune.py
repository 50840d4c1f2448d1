"""The search as Ray Tune's searcher and scheduler, and what evaluates a candidate, for those who have a Tune script.

    search = CompactSearch(study, "runs/digits")
    tuner = tune.Tuner(
        trainable(study),
        tune_config=tune.TuneConfig(search_alg=search, scheduler=CompactScheduler(search), num_samples=-1),
    )
    results = tuner.fit()

The run folder is that of `nas run`, which can go on with it: its journal is the record, and Tune only runs the trials.
Tune's snapshot may be older than the journal; after `Tuner.restore` what the journal holds is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from nas.errors import InputError
from nas.executors.loop import WorkFailed, disk_words
from nas.files import write_atomically
from nas.integrations.tune_session import Standing, TuneSession, opened, reopened
from nas.integrations.tune_trial import RUNNING, rung_of, trainable_of
from nas.search.driver import Done
from nas.study import Study
from nas.study.file import dump_study, parse_study
from nas.study.located_yaml import dump_yaml
from nas.tasks import Task, Verdict

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

VERDICTS = {
    Verdict.CONTINUE: TrialScheduler.CONTINUE,
    Verdict.PAUSE: TrialScheduler.PAUSE,
    Verdict.STOP: TrialScheduler.STOP,
}


def study_of(study: Study | Mapping[str, Any]) -> Study:
    """A study, or one out of the plain data of a study file. Raises InputError with the key at fault."""
    return study if isinstance(study, Study) else parse_study(dump_yaml(dict(study)), Path("study"))


def trainable(study: Study | Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    """What Tune calls for each trial; give it resources with `tune.with_resources`."""
    found = study_of(study)
    return trainable_of(found, dump_study(found))


class CompactSearch(Searcher):
    """Proposes the candidates of a study; every result is in the journal of its run folder.

    Needs a `CompactScheduler` of the same search, which sees the files of a trial. Ask for `num_samples=-1`: the study
    says how many trials there are. `max_concurrent_trials` counts those that run, not those that wait at a rung.
    """

    def __init__(self, study: Study | Mapping[str, Any], folder: str | Path) -> None:
        super().__init__()
        self.study, self.folder = study_of(study), Path(folder).resolve()
        self._numbers: dict[str, int] = {}
        self._fresh: set[str] = set()
        self._most: int | None = None
        self.has_scheduler = False

    @property
    def session(self) -> TuneSession:
        """The driver behind it, opened at its first use in this process."""
        return opened(self.study, self.folder)

    def begin(self) -> TuneSession:
        """A new run of Tune, with a scheduler: what an earlier one left running is proposed again."""
        self.has_scheduler = True
        self._fresh.clear()
        return reopened(self.study, self.folder)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        self._most = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The config of a new trial; None where Tune is to wait, or a paused one is to go on."""
        if not self.has_scheduler:
            raise InputError("CompactSearch: expected TuneConfig(scheduler=CompactScheduler(search)), got another one")
        self.session.most = self._most
        answer = self.session.propose()
        if isinstance(answer, Done):
            return Searcher.FINISHED
        if not isinstance(answer, Task):
            return None
        self._numbers[trial_id] = answer.number
        self._fresh.add(trial_id)
        genes = self.session.driver.journal.trials()[answer.number].params
        return {"number": answer.number, **genes, "order": self.session.order(answer)}

    def is_fresh(self, trial_id: str) -> bool:
        """Whether a trial was suggested just now; asked once."""
        is_fresh = trial_id in self._fresh
        self._fresh.discard(trial_id)
        return is_fresh

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has seen it. What Tune gives up is proposed again, as another trial of Tune's."""
        self._numbers.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Tune asks for a file; what counts is in the journal."""
        write_atomically(Path(checkpoint_path), json.dumps({"folder": str(self.folder), "numbers": self._numbers}))

    def restore(self, checkpoint_path: str) -> None:
        """Which trials of Tune's are which; the journal was read when this run began."""
        self._numbers = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))["numbers"]


class CompactScheduler(TrialScheduler):
    """The search's rungs, over several objectives: trials pause at a rung, and the best of each go on.

    Asynchronous successive halving as the study's `search.rungs` says; without rungs every trial goes on to its end.
    """

    _supports_buffered_results = False

    def __init__(self, search: CompactSearch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._search = search
        self._live: dict[str, Trial] = {}
        self._fetched: set[str] = set()

    @property
    def session(self) -> TuneSession:
        return self._search.session

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called by Tune at the beginning of each run; a searcher's is not always."""
        self._live, self._fetched = {}, set()
        self._search.begin().fetch = self._fetch
        return True

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """A new trial, one of an earlier run of Tune, or one that Tune tries again."""
        if trial.status in (Trial.TERMINATED, Trial.ERROR):
            return
        number, again = _number_of(trial), trial.trial_id in self._live
        self._live[trial.trial_id] = trial
        standing = Standing.RUNS if self._search.is_fresh(trial.trial_id) else self.session.stand(number)
        match standing:
            case Standing.RUNS:
                self._give(trial)
            case Standing.PAUSED:
                trial.set_status(Trial.PAUSED)
            case Standing.OVER if again:
                tune_controller.stop_trial(trial)
            case Standing.OVER:  # Tune does not count it among its own yet
                self._live.pop(trial.trial_id)
                trial.set_status(Trial.TERMINATED)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on. Raises WorkFailed where a worker's disk is full: no candidate is to blame."""
        if "broke" in result:
            raise WorkFailed(disk_words(self._search.folder, result["broke"]))
        if result.get("state") != RUNNING:
            return TrialScheduler.CONTINUE
        return VERDICTS[self.session.report(_number_of(trial), rung_of(result))]

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has ended, or was stopped: its files come into the run folder, and its result is told."""
        self._live.pop(trial.trial_id, None)
        if trial.checkpoint is None:
            self.session.over(_number_of(trial), None)
            return
        with trial.checkpoint.as_directory() as files:
            self.session.over(_number_of(trial), Path(files))

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """A worker died. Tune may try the trial again; else it is proposed again as another trial of Tune's."""
        self.session.died(_number_of(trial), _last_words(trial))

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """A trial was stopped before it ran, or while it was paused."""
        self._live.pop(trial.trial_id, None)
        self.session.dropped(_number_of(trial))

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """A paused trial that is to go on, else one that waits for resources."""
        session = self.session
        self._live = {name: trial for name, trial in self._live.items() if not trial.is_finished()}
        for trial in list(self._live.values()):
            number = _number_of(trial)
            if (session.done is not None and trial.status == Trial.PAUSED) or (
                trial.status == Trial.RUNNING and session.late(number)
            ):
                tune_controller.stop_trial(trial)
        for trial in self._live.values():
            if trial.status == Trial.PAUSED and session.is_promoted(_number_of(trial)):
                self._give(trial)
                return trial
        return next((trial for trial in self._live.values() if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """How many trials are in which state."""
        return self.session.words()

    def _fetch(self) -> None:
        """Bring what paused trials have reached into the run folder."""
        for name, trial in self._live.items():
            if trial.status == Trial.PAUSED and trial.checkpoint is not None and name not in self._fetched:
                self._fetched.add(name)
                with trial.checkpoint.as_directory() as files:
                    self.session.keep(_number_of(trial), Path(files))

    def _give(self, trial: Trial) -> None:
        """Tell a trial what its worker is to do now: attempts and the place of its files may have changed."""
        self._fetched.discard(trial.trial_id)
        order = self.session.order(self.session.task(_number_of(trial)))
        trial.set_config({**trial.config, "order": order})

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its scheduler down at the beginning; trials are Tune's to remember."""
        return {**vars(self), "_live": {}, "_fetched": set()}


def _number_of(trial: Trial) -> int:
    return int(trial.config["number"])


def _last_words(trial: Trial) -> str:
    """The last line of what Tune recorded of an error."""
    text = "" if trial.error_file is None else Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the worker died"
