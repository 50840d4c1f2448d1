"""Timing a network as a worker trains it: a few real steps of each stage."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median

import torch
from torch import nn

from compressors.plan import CompressionPlan
from nas.recording import Clock
from nas.training.augmentation import Feed
from nas.training.carried import Carried
from nas.training.inference import CALIBRATION_BATCHES
from nas.training.loop import train_stage
from nas.training.optimization import MovingAverage, first_moments, make_optimizer
from nas.training.pipeline import TrainingPipeline
from nas.training.stages import Stage

STEPS, WARM_UP, STAGE_SECONDS = 8, 2, 1.5
LEAST_BATCH = 8


@dataclass
class Steps:
    """Seconds of single steps; the time in which a measurement elsewhere made a step wait does not count."""

    give_way: Callable[[], None]
    seconds: list[float] = field(default_factory=list)
    _began: float | None = None

    def between(self) -> None:
        """Called before every step: the one before it is over."""
        self.end()
        self.give_way()
        self._began = time.perf_counter()

    def end(self) -> None:
        if self._began is not None:
            self.seconds.append(time.perf_counter() - self._began)
        self._began = None


def short(feed: Feed) -> Feed:
    """The feed's first batches: those that ranges and statistics are set from."""
    few = min(len(feed.labels), max(STEPS, CALIBRATION_BATCHES) * feed.batch_size)
    return replace(feed, images=feed.images[:few], labels=feed.labels[:few])


def train_a_little(
    pipeline: TrainingPipeline, network: nn.Module, give_way: Callable[[], None], clock: Clock
) -> tuple[nn.Module, CompressionPlan, dict[str, float]]:
    """A few steps of every stage; the finished network, the plan it has, and the seconds of a step by stage.

    What is done between the stages counts as part `change` of the clock.
    """
    with clock("precision"):
        precision = pipeline.choose_precision(network)
    found, carried = dict[str, float](), Carried(precision, pipeline.candidate.plan)
    for stage in pipeline.stages:
        with clock("change"):
            network = pipeline.change(network, stage, carried)
        first = _seconds(pipeline, network, stage, WARM_UP, carried=carried, give_way=give_way)
        steps = max(WARM_UP, min(STEPS, int(STAGE_SECONDS / max(first[-1], 1e-6))))
        timed = _seconds(pipeline, network, stage, steps, carried=carried, give_way=give_way)
        network = stage.method.leave(network)
        found[stage.name] = median(timed)
        if carried.teacher is None and pipeline.teaches_itself:
            carried.teacher = copy.deepcopy(network)
    with clock("change"):
        network = pipeline.finished(network, carried)
    return network, carried.plan, found


def _seconds(
    pipeline: TrainingPipeline,
    network: nn.Module,
    stage: Stage,
    steps: int,
    *,
    carried: Carried,
    give_way: Callable[[], None],
) -> list[float]:
    """Seconds of each of so many steps; the optimizer's moments are written into `carried`."""
    timed, training, feed = Steps(give_way), pipeline.training, pipeline.feed
    loss = pipeline.loss(network, carried.teacher)
    optimizer = make_optimizer(network, training, loss.projections)

    def between() -> None:
        if feed.images.device.type == "cuda":
            torch.cuda.synchronize(feed.images.device)
        timed.between()

    train_stage(
        network,
        feed,
        training,
        replace(stage, steps=steps, start=0.0, stop=1.0),
        optimizer=optimizer,
        loss=loss,
        average=MovingAverage(network, training.ema) if training.ema else None,
        precision=carried.precision,
        give_way=between,
        after_epoch=lambda _: timed.end(),
    )
    carried.momenta = first_moments(network, optimizer)
    return timed.seconds
