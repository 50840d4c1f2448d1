"""What a network in the middle of its training is worth: a copy of it gets the rest of its plan in a short time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from compressors.batch_norm import estimate_batch_norm
from nas.study.search import COPY_SHARE
from nas.training.loop import train_stage
from nas.training.optimization import make_optimizer
from nas.training.pipeline import TrainingPipeline
from nas.training.reporting import Snapshot
from nas.training.stages import Stage

# Low formats need training: 2 to 6 bits score .30 right after calibration where a hundred steps later they score .49.
COPY_STEPS = 100


def preview(snapshot: Snapshot, give_way: Callable[[], None]) -> nn.Module:
    """A copy of the network as it would be shipped, compressed and folded.

    All steps of its plan are applied, and then the last stage is trained to its end in a few steps, whatever remained
    of it: every candidate's learning rate comes down, so that one without compression is not compared while it is high.
    A copy goes back to no earlier weights: it is not trained long enough to make up for it.
    """
    pipeline, network, carried = snapshot.pipeline, snapshot.copied(), replace(snapshot.carried, early=None)
    estimate_batch_norm(network, pipeline.batches)
    later = pipeline.stages[snapshot.stage + 1 :]
    for stage in later:
        network = pipeline.change(network, stage, carried)
        network = network if stage is later[-1] else stage.method.leave(network)
    rest, loss = _rest(pipeline, snapshot.done), pipeline.loss(network, carried.teacher)
    loss.fit(pipeline.batches)
    train_stage(
        network,
        pipeline.feed_of(rest),
        pipeline.training,
        rest,
        optimizer=make_optimizer(network, pipeline.training, loss.projections),
        loss=loss,
        precision=carried.precision,
        give_way=give_way,
        after_epoch=lambda _: None,
    )
    network = rest.method.leave(network)
    estimate_batch_norm(network, pipeline.batches)
    return pipeline.finished(network, carried)


def copy_steps(pipeline: TrainingPipeline) -> int:
    """For how many steps a copy is trained."""
    return min(COPY_STEPS, max(1, round(COPY_SHARE * pipeline.epochs * pipeline.feed.steps)))


def _rest(pipeline: TrainingPipeline, done: float) -> Stage:
    """The last stage from here on, in a few steps."""
    last = pipeline.stages[-1]
    return replace(last, steps=copy_steps(pipeline), start=min(max(last.start, done), last.stop))
