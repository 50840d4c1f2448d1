"""`nas check --probe`: what a study will cost in time, from a few real steps with the middle network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.table import Table

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.hyperparameters import middle_numbers
from nas.data import load
from nas.evaluate import pipeline_of, structure_costs
from nas.machine import threads_per_worker
from nas.measuring.costs import measure_files
from nas.measuring.turns import pausing_for_measurements
from nas.recording import Clock
from nas.runtimes.runtime import refuse_missing
from nas.shipping import score_file, ship
from nas.study import Study
from nas.tasks import Task
from nas.training.augmentation import Feed
from nas.training.loop import train_stage
from nas.training.optimization import make_optimizer
from nas.training.pipeline import TrainingPipeline
from nas.training.stages import stages_of
from nas.workbench import Workbench, build

STEPS = 5


@dataclass(frozen=True)
class Probe:
    """Seconds of the middle network: per step of each training stage (`step`), and of all else (`around`, `measure`).

    `measure` is the part in which a trial has the machine to itself; the rest runs beside other workers.
    """

    study: Study
    candidate: Candidate
    steps_per_epoch: int
    step: Mapping[str, float]
    around: float
    measure: float

    def trial_seconds(self, epochs: int) -> float:
        """One candidate from the first weight to the record."""
        steps = epochs * self.steps_per_epoch
        training = self.study.training
        recipe = training.resolved(middle_numbers(training))
        stages = stages_of(recipe, steps, self.candidate.plan)
        seconds = sum(stage.steps * self.step[stage.name] for stage in stages)
        return seconds + self.around + self.measure

    def study_seconds(self) -> float:
        """The whole search and its finalists: workers share everything but the measurements."""
        search = self.study.search
        return search.trials * self._share(self.study.search_epochs) + search.finalists * self._share(
            self.study.training.epochs
        )

    def _share(self, epochs: int) -> float:
        return (self.trial_seconds(epochs) - self.measure) / self.study.search.workers + self.measure


def probe(study: Study) -> Probe:
    """Run the middle network through a whole trial, with a few steps of each training stage only."""
    refuse_missing(study.targets)
    size = study.space.input_sizes[-1]
    torch.set_num_threads(threads_per_worker(study.search.workers, size))
    data = load(study.data, input_size=size, seed=study.search.seed)
    bench, clock = Workbench(study, data), Clock()
    candidate = extreme_candidates(study)["middle"]
    with tempfile.TemporaryDirectory(prefix="nas-probe-") as place:
        folder = Path(place)
        numbers = middle_numbers(study.training)
        task = Task(0, candidate, "search", study.search.seed, study.search_epochs, folder, training=numbers)
        bench = bench.at(candidate.architecture.input_size)
        with clock("build"):
            network = build(candidate, bench, seed=task.seed, dropout=0.0)
        structure_costs(task, bench, network, clock)
        pipeline = pipeline_of(task, bench, None)
        network, step = train_a_little(replace(pipeline, feed=short(pipeline.feed)), network)
        with clock("emit"):
            files = ship(network.cpu().eval(), candidate, folder, header=bench.header, targets=study.targets)
        with clock("measure"):
            measure_files(files, study.targets, origin="shipped file")
        with clock("score"):
            score_file(files[study.target.name], bench, test=False)
    measure = clock.seconds.pop("measure")
    return Probe(study, candidate, pipeline.feed.steps, step, sum(clock.seconds.values()), measure)


def short(feed: Feed) -> Feed:
    """The feed's first batches."""
    few = min(len(feed.labels), STEPS * feed.batch_size)
    return replace(feed, images=feed.images[:few], labels=feed.labels[:few])


def train_a_little(pipeline: TrainingPipeline, network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, float]]:
    """Two short epochs of each stage; seconds per step of the second, when caches and kernels are warm."""
    seconds = dict[str, float]()
    precision = pipeline.choose_precision(network)
    for stage in pipeline.stages:
        network = pipeline.change(network, stage)
        ends: list[float] = []
        with pausing_for_measurements() as give_way:
            train_stage(
                network,
                pipeline.feed,
                pipeline.training,
                replace(stage, steps=2 * pipeline.feed.steps, start=0.0, stop=1.0),
                optimizer=make_optimizer(network, pipeline.training),
                precision=precision,
                give_way=give_way,
                after_epoch=lambda _, ends=ends: ends.append(time.perf_counter()),  # type: ignore[misc]
            )
        seconds[stage.name] = (ends[1] - ends[0]) / pipeline.feed.steps
    return pipeline.finished(network), seconds


def probe_table(found: Probe) -> Table:
    """Seconds and minutes, for a terminal."""
    study = found.study
    table = Table(title="Time, from a probe of the middle network", show_header=False, box=None, title_justify="left")
    for stage, seconds in found.step.items():
        table.add_row(f"{stage} training step", f"{seconds:.4f} s", f"{found.steps_per_epoch} per epoch")
    table.add_row("building, emitting, scoring", f"{found.around:.1f} s", "")
    table.add_row("measuring", f"{found.measure:.1f} s", "one at a time on a machine")
    for what, epochs in (("trial", study.search_epochs), ("finalist", study.training.epochs)):
        table.add_row(f"one {what}", f"{found.trial_seconds(epochs) / 60:.2f} min", f"{epochs} epochs")
    shares = f"{study.search.trials} trials and {study.search.finalists} finalists on {study.search.workers} worker(s)"
    table.add_row("the study", f"{found.study_seconds() / 60:.1f} min", shares)
    if study.training.needs_reference:
        table.add_row("the reference teacher", "not probed", "its own training comes on top, once")
    return table
