"""A candidate's training from end to end: dense, prune, fine-tune, quantization-aware; continued from a checkpoint."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.pruning.channels import prune
from compressors.pruning.importances import IMPORTANCES
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import refresh_scales
from nas.candidates.candidate import Candidate
from nas.files import write_atomically
from nas.study import Compression, Training
from nas.tasks import Verdict
from nas.training.augmentation import Feed
from nas.training.checkpoint import VERSION, Checkpoint, load_checkpoint
from nas.training.early_stopping import EarlyStopping
from nas.training.inference import calibrate, estimate_batch_norm
from nas.training.loop import train_stage
from nas.training.losses import Loss, network_teacher, recorded_teacher
from nas.training.optimization import MovingAverage, make_optimizer
from nas.training.precision import Precision
from nas.training.stages import Stage, StageName, stages_of

SECONDS_BETWEEN_CHECKPOINTS = 2.0


class Interrupted(Exception):
    """A training ended early because `report` said so; a checkpoint is saved."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


def always_continue(_: float) -> Verdict:
    return Verdict.CONTINUE


def in_fp32(_: nn.Module) -> Precision:
    return "fp32"


@dataclass(frozen=True)
class Trained:
    """A trained network, folded and quantized where asked for; the epochs really done, and in what arithmetic."""

    network: nn.Module
    epochs: float
    precision: Precision


@dataclass(frozen=True)
class TrainingPipeline:
    """Everything one candidate's training depends on; `training` with its searched numbers put in.

    `validation` is what `patience` watches; `recorded` (images, classes) the logits of a reference teacher.
    `choose_precision` is asked once, and its answer kept in the checkpoint.
    """

    training: Training
    candidate: Candidate
    feed: Feed
    epochs: int
    checkpoint: Path
    compression: Compression = field(default_factory=Compression)
    class_weights: Tensor | None = None
    validation: tuple[Tensor, Tensor] | None = None
    recorded: Tensor | None = None
    choose_precision: Callable[[nn.Module], Precision] = in_fp32

    def fit(
        self,
        network: nn.Module,
        give_way: Callable[[], None],
        *,
        report: Callable[[float], Verdict] = always_continue,
    ) -> Trained:
        """Train `network` (untrained, dense) through all stages_of.

        `report` is called after every epoch with the epochs done so far; raises Interrupted where it says so.
        An earlier attempt's checkpoint is continued at the epoch after it.
        """
        plan = self.candidate.plan
        steps = self.epochs * self.feed.steps
        todo = stages_of(self.training, steps, prunes=bool(plan.kept), quantizes=bool(plan.formats))
        saved = load_checkpoint(self.checkpoint)
        first = saved["phase"] if saved is not None else 0
        precision = saved["precision"] if saved is not None else self.choose_precision(network)
        done: list[int] = saved["steps"] if saved is not None else []
        dense = self._saved_teacher(network, saved)
        for index, phase in enumerate(todo):
            resumes = saved is not None and index == first
            network = self.change(network, phase.name, restoring=resumes or index < first)
            if index >= first:
                run = _StageRun(self, network, phase, index, precision, done, dense, report)
                done = [*done, run.train(saved if resumes else None, give_way)]
            if index == 0 and dense is None and self._teaches_itself:
                dense = copy.deepcopy(network)
        network = network if plan.formats else fold_batch_norm(network)
        return Trained(network, sum(done) / self.feed.steps, precision)

    @property
    def _teaches_itself(self) -> bool:
        return self.training.distillation is not None and self.training.distillation.teacher == "self"

    @staticmethod
    def _saved_teacher(network: nn.Module, saved: Checkpoint | None) -> nn.Module | None:
        """The network after its dense phase, where a checkpoint of a later phase holds it."""
        if saved is None or saved["teacher"] is None:
            return None
        teacher = copy.deepcopy(network)
        teacher.load_state_dict(saved["teacher"])
        return teacher

    def change(self, network: nn.Module, phase: StageName, *, restoring: bool = False) -> nn.Module:
        """What is done to the network before a phase; when restoring only its shape matters, weights follow."""
        plan = self.candidate.plan
        if phase == "pruned":
            groups = self.candidate.architecture.all_groups()
            prune(network, groups, plan.kept, importance=IMPORTANCES[self.compression.importance])
            if not restoring:
                estimate_batch_norm(network, self.feed)
        elif phase == "quantized":
            network = prepare(network, plan.formats, learned=self.compression.learned_step_sizes)
            network = network.to(self.feed.images.device)
            if not restoring:
                calibrate(network, self.feed)
        return network

    def loss(self, phase: StageName, dense: nn.Module | None) -> Loss:
        """The loss of a phase; a network is no teacher of its own dense phase."""
        training, options = self.training, self.training.distillation
        plain = Loss(label_smoothing=training.label_smoothing, class_weights=self.class_weights)
        if options is None:
            return plain
        if options.teacher == "reference":
            if self.recorded is None:
                raise ValueError("distillation from a reference: expected its logits, got none")
            teacher = recorded_teacher(self.recorded)
        elif phase == "dense" or dense is None:
            return plain
        else:
            teacher = network_teacher(dense)
        return replace(plain, teacher=teacher, weight=options.weight, temperature=options.temperature)


class _StageRun:
    """One phase of a fitting: its optimizer, average and early stopping, and how they are kept in the checkpoint."""

    def __init__(
        self,
        fitting: TrainingPipeline,
        network: nn.Module,
        phase: Stage,
        index: int,
        precision: Precision,
        done: list[int],
        dense: nn.Module | None,
        report: Callable[[float], Verdict],
    ) -> None:
        self._report = report
        training, validation = fitting.training, fitting.validation
        self._fitting, self._network, self._phase, self._index = fitting, network, phase, index
        self._precision, self._done, self._dense = precision, done, dense
        self._optimizer = make_optimizer(network, training)
        self._average = MovingAverage(network, training.ema) if training.ema else None
        self._stopping: EarlyStopping | None = None
        if training.patience is not None and validation is not None and phase.name == "dense":
            self._stopping = EarlyStopping(*validation, training.patience)
        self._last_saved = time.monotonic()

    def train(self, saved: Checkpoint | None, give_way: Callable[[], None]) -> int:
        """Train through the phase, from a checkpoint of it on where there is one; returns the steps done."""
        done = train_stage(
            self._network,
            self._fitting.feed,
            self._fitting.training,
            self._phase,
            start_epoch=0 if saved is None else self._restore(saved),
            optimizer=self._optimizer,
            loss=self._fitting.loss(self._phase.name, self._dense),
            average=self._average,
            precision=self._precision,
            give_way=give_way,
            after_epoch=self._after_epoch,
            is_over=lambda: self._stopping is not None and self._stopping.is_over,
        )
        self._hand_over()
        return done

    def _hand_over(self) -> None:
        """The weights that go on from here: the best ones, or the average, or the last."""
        if self._stopping is not None:
            self._stopping.restore(self._network)
        elif self._average is not None:
            self._average.apply()
            if self._phase.name == "quantized":
                refresh_scales(self._network, learned=False)
        if self._phase.name != "quantized":  # afterwards batch norm is part of the weights
            estimate_batch_norm(self._network, self._fitting.feed)

    def _after_epoch(self, done: int) -> None:
        if self._stopping is not None:
            with self._average.applied() if self._average is not None else nullcontext():
                self._stopping.watch(self._network, self._fitting.feed)
        if time.monotonic() - self._last_saved >= SECONDS_BETWEEN_CHECKPOINTS:
            self._save(done)
            self._last_saved = time.monotonic()
        steps = sum(self._done) + min(done * self._fitting.feed.steps, self._phase.steps)
        verdict = self._report(steps / self._fitting.feed.steps)
        if verdict is not Verdict.CONTINUE:
            self._save(done)
            raise Interrupted(verdict)

    def _save(self, epoch: int) -> None:
        state: Checkpoint = {
            "version": VERSION,
            "phase": self._index,
            "epoch": epoch,
            "steps": self._done,
            "precision": self._precision,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
            "stopping": self._stopping.state_dict() if self._stopping is not None else None,
            "teacher": self._dense.state_dict() if self._dense is not None else None,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self._fitting.checkpoint, buffer.getvalue())

    def _restore(self, saved: Checkpoint) -> int:
        """Load what was saved; returns the number of finished epochs of the phase."""
        self._network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["optimizer"])
        if self._average is not None and saved["average"] is not None:
            self._average.load_state_dict(saved["average"])
        if self._stopping is not None and saved["stopping"] is not None:
            self._stopping.load_state_dict(saved["stopping"])
        return saved["epoch"]
