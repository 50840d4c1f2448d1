"""One stage of a training: from its first step, or from a checkpoint, to the network that goes on to the next."""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from compressors.batch_norm import estimate_batch_norm
from nas.files import write_atomically
from nas.study import Recipe
from nas.tasks import Rung, Verdict, rung_between
from nas.training.carried import Carried
from nas.training.checkpoint import VERSION, Checkpoint
from nas.training.early_stopping import EarlyStopping
from nas.training.inference import CalibrationBatches
from nas.training.loop import Within, generator_of, train_stage
from nas.training.meter import Meter
from nas.training.optimization import MovingAverage, first_moments, make_optimizer
from nas.training.reporting import Interrupted, Report, Snapshot
from nas.training.stages import Stage

SECONDS_BETWEEN_CHECKPOINTS = 2.0
SECONDS_WITHIN_EPOCH = 20.0  # between those within a long epoch: within the notice that schedulers give
LONG_AVERAGE = 1.0  # a decay that is never reached: the average is that of about the last ninth of the steps


class StageRun:
    """One stage of a training: its optimizer, average and early stopping, and how they are kept in the checkpoint."""

    def __init__(self, pipeline: Any, network: nn.Module, index: int, so_far: Carried, *, report: Report) -> None:
        training: Recipe = pipeline.training
        validation: tuple[Tensor, Tensor] | None = pipeline.validation
        stage: Stage = pipeline.stages[index]
        self._pipeline, self.network, self._stage, self._index = pipeline, network, stage, index
        self._so_far, self._report = so_far, report
        self._loss = pipeline.loss(network, so_far.teacher)
        self._optimizer = make_optimizer(network, training, self._loss.projections)
        self._average = MovingAverage(network, training.ema) if training.ema else None
        is_master = index == 0 and pipeline.teaches_itself and not training.ema
        self._master = MovingAverage(network, LONG_AVERAGE) if is_master else None
        self._stopping: EarlyStopping | None = None
        if training.patience is not None and validation is not None and stage.retraining.stops_early:
            self._stopping = EarlyStopping(*validation, training.patience)
        self._last_saved = time.monotonic()
        self._saved = 0, 0  # finished epochs of the stage that the checkpoint holds, and steps of the next
        self._within: Within | None = None

    def train(self, saved: Checkpoint | None, give_way: Callable[[], None]) -> nn.Module:
        """Train through the stage, from a checkpoint of it on where there is one; the network that goes on.

        What it carries on is written into the `so_far` it was given.
        """
        start = 0 if saved is None else self._restore(saved)
        if saved is None:
            self._loss.fit(CalibrationBatches(self._pipeline.feed_of(self._stage)))
        if start and self._within is None and (share := self._rung_at(start)) is not None:
            self._tell(self._seen(share, start), start)
        done = train_stage(
            self.network,
            self._pipeline.feed_of(self._stage),
            self._pipeline.training,
            self._stage,
            start_epoch=start,
            within=self._within,
            optimizer=self._optimizer,
            loss=self._loss,
            average=self._average,
            precision=self._so_far.precision,
            give_way=give_way,
            after_epoch=self.watch_and_save,
            is_over=lambda: self._stopping is not None and self._stopping.is_over,
            after_step=self._after_step(),
        )
        self._keep_early()
        self._so_far.momenta = first_moments(self.network, self._optimizer)
        self.hand_over()
        self._so_far.steps.append(done)
        if self._index == 0 and self._pipeline.teaches_itself:
            self._so_far.teacher = self.master()
        return self.network

    def master(self) -> nn.Module:
        """The network that teaches the later stages, once this one is over.

        The learning rate is high when the dense stage ends, and a network in the middle of its schedule says too little
        to learn from: on digits it is 3.6 points behind the one that it would teach. The average of the last weights is
        half a point behind, and costs no step.
        """
        if self._master is None or self._stopping is not None:
            return copy.deepcopy(self.network)
        with self._master.applied():
            master = copy.deepcopy(self.network)
        estimate_batch_norm(master, self._pipeline.batches)
        return master

    def _after_step(self) -> Callable[[int, Tensor], None]:
        meter, master, early = self._meter(), self._master, self._early_step
        if early == 0:
            self._keep_early()

        def after(done: int, loss: Tensor) -> None:
            if master is not None:
                master.update()
            meter(done, loss)
            if done == early:
                self._keep_early()
            if time.monotonic() - self._last_saved >= SECONDS_WITHIN_EPOCH:
                self._save_within(done)

        return after

    def _save_within(self, done: int) -> None:
        """A checkpoint after `done` steps of the stage, unless its epoch is over by now: that one is saved there."""
        epoch, steps = divmod(done, self._pipeline.feed.steps)
        if steps and done < self._stage.steps:
            self._save(epoch, Within(steps, generator_of(self._pipeline.feed.images.device)))

    @property
    def _early_step(self) -> int | None:
        """The step after which the state is kept that pruning goes back to; None in other stages than the dense one."""
        share: float | None = self._pipeline.compression.rewind
        return None if share is None or self._index else round(share * self._stage.steps)

    def _keep_early(self) -> None:
        """Unless it is kept already; of a stage that ended earlier than planned it is the end."""
        if self._early_step is not None and self._so_far.early is None:
            self._so_far.early = {name: value.clone() for name, value in self.network.state_dict().items()}

    def _meter(self) -> Meter:
        pipeline, feed = self._pipeline, self._pipeline.feed
        before = sum(self._so_far.steps)
        return Meter(pipeline.tell, self._stage.name, pipeline.epochs, before, feed.steps, feed.batch_size)

    def hand_over(self) -> None:
        """The weights that go on from here: the best ones, or the average, or the last."""
        if self._stopping is not None:
            self._stopping.restore(self.network)
        elif self._average is not None:
            self._average.apply()
            self._stage.method.averaged(self.network)
        self.network = self._stage.method.leave(self.network)
        estimate_batch_norm(self.network, self._pipeline.batches)

    def watch_and_save(self, done: int) -> None:
        if self._stopping is not None:
            with self._averaged():
                self._stopping.watch(self.network, self._pipeline.feed)
        share = self._rung_at(done)
        if share is not None or time.monotonic() - self._last_saved >= SECONDS_BETWEEN_CHECKPOINTS:
            self._save(done)  # before a rung is looked at: it may take as long as an epoch
        rung = Rung(self._epochs(done), self._pipeline.epochs) if share is None else self._seen(share, done)
        self._tell(rung, done)

    def _tell(self, rung: Rung, done: int) -> None:
        """Report; unless the answer is CONTINUE, end, with the stage's `done` epochs saved."""
        verdict = self._report(rung)
        if verdict is not Verdict.CONTINUE:
            if (done, 0) != self._saved:
                self._save(done)
            raise Interrupted(verdict, rung)

    def _rung_at(self, done: int) -> float | None:
        """The rung that the last of `done` epochs of the stage has reached."""
        return rung_between(self._pipeline.rungs, self._pipeline.epochs, self._epochs(done - 1), self._epochs(done))

    def _seen(self, share: float, done: int) -> Rung:
        """The rung, looked at; torch's global generator is left as it was."""
        pipeline, so_far, device = self._pipeline, self._so_far, self._pipeline.feed.images.device
        carried = replace(so_far, momenta=first_moments(self.network, self._optimizer))
        snapshot = Snapshot(pipeline, self._index, self._place(done), carried, self._copied)
        epochs = self._epochs(done)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            look = pipeline.look(share, epochs, snapshot)
        return Rung(epochs, pipeline.epochs, share, look.scores, look.copy_epochs)

    def _place(self, done: int) -> float:
        """How much of the schedule is over after `done` epochs of the stage."""
        stage = self._stage
        within = min(done * self._pipeline.feed.steps, stage.steps) / max(1, stage.steps)
        return float(stage.start + within * (stage.stop - stage.start))

    def _averaged(self) -> AbstractContextManager[None]:
        """Inside, the network has the weights that would go on, where those are an average."""
        return self._average.applied() if self._average is not None else nullcontext()

    def _copied(self) -> nn.Module:
        with self._averaged():
            network = copy.deepcopy(self.network)
        self._stage.method.end_stage(network)  # whether ranges move or norms are frozen is in no checkpoint
        if self._average is not None:
            self._stage.method.averaged(network)
        return self._stage.method.leave(network)

    def _epochs(self, done: int) -> float:
        """Epochs of the whole training after `done` of this stage, whose last may be a part of one."""
        steps = self._pipeline.feed.steps
        return float((sum(self._so_far.steps) + min(done * steps, self._stage.steps)) / steps)

    def _save(self, epoch: int, within: Within | None = None) -> None:
        state: Checkpoint = {
            "version": VERSION,
            "stage": self._index,
            "epoch": epoch,
            "steps": self._so_far.steps,
            "precision": self._so_far.precision,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
            "stopping": self._stopping.state_dict() if self._stopping is not None else None,
            "teacher": self._so_far.teacher.state_dict() if self._so_far.teacher is not None else None,
            "master": self._master.state_dict() if self._master is not None else None,
            "projections": [projection.detach() for projection in self._loss.projections],
            "plan": self._so_far.plan.model_dump(mode="json"),
            "early": self._so_far.early,
        }
        if within is not None:
            state["within"], state["generator"] = within
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self._pipeline.checkpoint, buffer.getvalue())
        self._saved, self._last_saved = (epoch, 0 if within is None else within.steps), time.monotonic()

    def _restore(self, saved: Checkpoint) -> int:
        """Load what was saved; returns the number of finished epochs of the stage."""
        if steps := saved.get("within", 0):
            self._within = Within(steps, saved["generator"])
            # Flags that no checkpoint holds; scales that it sets of the weights are in the checkpoint.
            epochs = math.ceil(self._stage.steps / self._pipeline.feed.steps)
            self._stage.method.begin_epoch(self.network, saved["epoch"] / epochs)
        self.network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["optimizer"])
        with torch.no_grad():
            for projection, value in zip(self._loss.projections, saved.get("projections", ()), strict=True):
                projection.copy_(value)
        if self._average is not None and saved["average"] is not None:
            self._average.load_state_dict(saved["average"])
        if self._master is not None:
            self._master = MovingAverage(self.network, LONG_AVERAGE)
            if (master := saved.get("master")) is not None:
                self._master.load_state_dict(master)
        if self._stopping is not None and saved["stopping"] is not None:
            self._stopping.load_state_dict(saved["stopping"])
        self._saved = saved["epoch"], steps
        return saved["epoch"]
