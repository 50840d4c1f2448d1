"""One trial of a search in a worker of Ray Tune: evaluated, reported after each epoch, its files handed to Tune.

At a rung the training ends with its checkpoint, which goes to Tune with the report. Where Tune lets the trial go on it
is continued from there, here or on another node.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import InputError, nobodys_fault
from nas.executors.environment import worker_environment
from nas.executors.ray.scratch import own_scratch, shared_scratch
from nas.executors.ray.whereabouts import whereabouts
from nas.files import write_atomically
from nas.machine import limit_memory, threads_on
from nas.measuring.places import places_of
from nas.records import Evaluation, State
from nas.run_folder.artifacts import EVALUATION_FILE
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.file import parse_study, recall_network
from nas.tasks import Rung, Task, Verdict

if TYPE_CHECKING:
    from nas.workbench import Workbench

OWN, RUNGS = "evaluation", "rungs"  # the parts of a checkpoint: the task's folder, and those of its rungs
MARK = ".tune"  # a file of the run folder: a worker that finds its word there shares a disk with the driver
RUNNING = "TRAINING"
HOMES = "compact-nas-tune-"  # begin of the folders on nodes that share no disk: one for each run, with its teacher

Reporting = Callable[..., None]  # ray.tune.report


@dataclass(frozen=True)
class Order:
    """What a worker is told: its task, and the word that stands in the run folder of a shared disk."""

    task: Task
    word: str

    @property
    def run(self) -> Path:
        """The run folder as the driver sees it."""
        return self.task.folder.parents[2]

    def to_json(self) -> str:
        return json.dumps({"task": self.task.to_line(), "word": self.word})

    @classmethod
    def from_json(cls, text: str) -> Order:
        order = json.loads(text)
        return cls(Task.from_line(order["task"]), order["word"])


def metrics_of(task: Task, objectives: tuple[str, ...], rung: Rung) -> dict[str, Any]:
    """What is reported of a training that goes on.

    Objectives are NaN: what a copy is worth at a rung is never compared with a finished network. It stands in `rung`.
    """
    metrics = {"number": task.number, "candidate": task.candidate.id, "state": RUNNING}
    metrics |= {"epochs": rung.epochs, "budget": rung.budget, **dict.fromkeys(objectives, math.nan)}
    if rung.share is not None and rung.scores is not None:
        metrics |= {"rung": {"share": rung.share, "copy_epochs": rung.copy_epochs, "scores": dict(rung.scores)}}
    return metrics


def rung_of(flat: Mapping[str, Any]) -> Rung:
    """The rung that `metrics_of` wrote, out of the flat form that schedulers see."""
    scores = {name.removeprefix("rung/scores/"): v for name, v in flat.items() if name.startswith("rung/scores/")}
    return Rung(
        flat["epochs"], flat["budget"], flat.get("rung/share"), scores or None, flat.get("rung/copy_epochs", 0.0)
    )


def result_of(task: Task, objectives: tuple[str, ...], evaluation: Evaluation) -> dict[str, Any]:
    """What is reported at the end; qualities of what is not COMPLETE are NaN."""
    known = evaluation.known if evaluation.state is State.COMPLETE else {}
    costs = {} if evaluation.measurement is None else evaluation.measurement.costs(evaluation.target)
    others = {} if evaluation.measurement is None else evaluation.measurement.other_costs(evaluation.target)
    metrics = {"number": task.number, "candidate": evaluation.candidate_id, "state": str(evaluation.state)}
    metrics |= {"epochs": evaluation.epochs, "budget": task.epochs, "reason": evaluation.reason}
    return metrics | dict.fromkeys(objectives, math.nan) | costs | others | known


def packed(task: Task, place: Path) -> Path:
    """The task's folder and those of its rungs, checkpoint included, copied to `place`; returns it."""
    if task.folder.is_dir():
        shutil.copytree(task.folder, place / OWN, dirs_exist_ok=True)
    for folder in _rung_folders(task):
        if folder.is_dir():
            shutil.copytree(folder, place / RUNGS / folder.name, dirs_exist_ok=True)
    return place


def unpacked(place: Path, task: Task) -> None:
    """Bring what `packed` copied to where the task expects it.

    What is there already stays, unless the training has come further in `place`: a rung has been reached there alone.
    """
    rungs = [(place / RUNGS / to.name, to) for to in _rung_folders(task)]
    is_further = any(
        (source / EVALUATION_FILE).exists() and not (to / EVALUATION_FILE).exists() for source, to in rungs
    )
    for source, to in [(place / OWN, task.folder), *rungs]:
        for file in source.iterdir() if source.is_dir() else ():
            if file.is_file() and not file.is_symlink() and (is_further or not (to / file.name).exists()):
                write_atomically(to / file.name, file.read_bytes())


def _rung_folders(task: Task) -> list[Path]:
    return [task.at_rung(share).folder for share in task.rungs]


def evaluate_trial(config: Mapping[str, Any], study_text: str, cwd: str) -> None:
    """Evaluate the trial of a Tune config. `cwd` is the user's folder: Tune has workers work elsewhere."""
    from ray import tune

    try:
        order = _understood(config["order"], study_text, cwd)
    except InputError as error:
        tune.report({"refused": str(error)})
        return
    with task_here(order) as task, own_scratch() as parcels:
        if (saved := tune.get_checkpoint()) is not None:
            with saved.as_directory() as place:
                unpacked(Path(place), task)
        try:
            bench = bench_of(study_text, task.folder.parents[2], cwd, _cpus())
        except InputError as error:
            tune.report({"number": task.number, "refused": str(error)})
            return
        try:
            evaluation = _evaluated(task, bench, parcels, tune.report)
        except Exception as error:
            if (problem := nobodys_fault(error)) is None:
                raise
            tune.report({"number": task.number, "broke": problem})
            return
        parcel = tune.Checkpoint.from_directory(packed(task, parcels / "end"))
        tune.report(result_of(task, bench.study.objectives, evaluation), checkpoint=parcel)


def _understood(text: str, study_text: str, cwd: str) -> Order:
    """An order, once this process knows what its candidate only names: kinds of blocks of the user's own, a network.

    Raises InputError where it cannot: a network is read from the run folder, which this node must see.
    """
    study = parse_study(study_text, Path(cwd) / "study.yaml")
    recall_network(study, Path(json.loads(json.loads(text)["task"])["folder"]).parents[2])
    return Order.from_json(text)


def _evaluated(task: Task, bench: Workbench, parcels: Path, reporting: Reporting) -> Evaluation:
    """The evaluation; between its rungs Tune hears of every epoch, and ends this thread where it is to stop."""
    from ray.tune import Checkpoint

    from nas.evaluate import evaluate_safely
    from nas.training.reporting import Interrupted

    objectives, passed = bench.study.objectives, set[float]()

    def report(rung: Rung) -> Verdict:
        if rung.share is not None and rung.share not in passed:
            return Verdict.PAUSE
        if rung.share is None:
            reporting(metrics_of(task, objectives, rung))
        return Verdict.CONTINUE

    while True:
        try:
            return evaluate_safely(task, bench, report=report)
        except Interrupted as at:
            share = at.rung.share
            assert share is not None, "only at a rung"
            parcel = Checkpoint.from_directory(packed(task, parcels / f"{share:g}"))
            reporting(metrics_of(task, objectives, at.rung), checkpoint=parcel)
            passed.add(share)  # it was let go on


@contextmanager
def task_here(order: Order) -> Iterator[Task]:
    """The task with a folder that this node has: the driver's own where the disk is shared, else one for a while."""
    task, mark = order.task, order.run / MARK
    with ExitStack() as stack:
        shared = False
        with suppress(OSError):
            shared = mark.read_text(encoding="utf-8") == order.word
        if not shared:
            home = shared_scratch(order.word, prefix=HOMES)
            task = replace(task, folder=home / task.folder.relative_to(order.run))
            stack.callback(_forget, task)
        yield task


def _forget(task: Task) -> None:
    for folder in (task.folder, *_rung_folders(task)):
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def bench_of(study_text: str, home: Path, cwd: str, cpus: float) -> Workbench:
    """What this process keeps between trials: the study with its data, and where a teacher is shared.

    Raises InputError where this node cannot serve the study.
    """
    study = parse_study(study_text, Path(cwd) / "study.yaml")
    threads = threads_on(cpus, study.space.input_sizes[-1])
    os.environ.update(worker_environment(threads))  # before torch
    import torch

    from nas.data import load
    from nas.workbench import Workbench

    torch.set_num_threads(threads)
    with chdir(cwd if Path(cwd).is_dir() else "."):
        data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
        bench = Workbench(study, data, folder=RunFolder(home), places=places_of(study.targets), site=_site())
        bench.read_all()
    if study.search.trial_gigabytes is not None:
        limit_memory(study.search.trial_gigabytes)
    return bench


def _site() -> dict[str, str]:
    """Where this process is, as evaluations record it."""
    where = whereabouts()
    return {"engine": "ray tune", "node": where["node"], "actor": where["actor"]}


def _cpus() -> float:
    """As many cores as Tune reserved for the trial."""
    from ray import tune

    return float((tune.get_context().get_trial_resources().required_resources or {}).get("CPU", 1))


def trainable_of(study: Study, text: str) -> Callable[[dict[str, Any]], None]:
    """A function that Tune calls with a trial's config."""
    cwd = str(Path.cwd())

    def candidate(config: dict[str, Any]) -> None:
        evaluate_trial(config, text, cwd)

    return candidate
