"""A candidate's training from end to end: stages, with compression steps between; continued from a checkpoint."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressors.batch_norm import estimate_batch_norm
from compressors.evidence import Evidence
from compressors.formats import ActivationScheme
from compressors.pipeline import Options, PostTraining, Request, apply_step, folded, requests_of, resolved
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES
from nas.candidates.candidate import Candidate
from nas.candidates.shaping import SHAPINGS
from nas.files import write_atomically
from nas.study import Compression, Recipe
from nas.study.numbers import decided
from nas.tasks import Rung, Tell, Verdict, rung_between, silent
from nas.training.augmentation import Feed
from nas.training.checkpoint import VERSION, Checkpoint, load_checkpoint
from nas.training.divergence import learned_values, require_finite
from nas.training.early_stopping import EarlyStopping
from nas.training.hints import hints_of
from nas.training.inference import CalibrationBatches, Examples
from nas.training.loop import train_stage
from nas.training.losses import Loss, network_teacher, recorded_teacher
from nas.training.meter import Meter
from nas.training.optimization import MovingAverage, first_moments, make_optimizer
from nas.training.precision import Precision
from nas.training.stages import Stage, stages_of, trailing_requests

SECONDS_BETWEEN_CHECKPOINTS = 2.0
LONG_AVERAGE = 1.0  # a decay that is never reached: the average is that of about the last ninth of the steps
Report = Callable[[Rung], Verdict]


def in_fp32(_: nn.Module) -> Precision:
    return "fp32"


def always_continue(_: Rung) -> Verdict:
    return Verdict.CONTINUE


class Interrupted(Exception):
    """The training was told to pause or stop, after how much of it; its checkpoint is saved."""

    def __init__(self, verdict: Verdict, rung: Rung) -> None:
        super().__init__(f"the training was told to {verdict}")
        self.verdict, self.rung = verdict, rung


def options_of(candidate: Candidate, compression: Compression) -> Options:
    """What the study and the architecture say of the candidate's compression besides its plan."""
    return Options(
        groups=candidate.groups(),
        importance=IMPORTANCES[compression.importance],
        learned=compression.learned_step_sizes,
        gradual=compression.pruning_schedule == "iterative",
        scheme=ActivationScheme(bits=compression.activation_bits),
    )


@dataclass(frozen=True)
class Trained:
    """A trained network, compressed and folded; the epochs really done, in what arithmetic, and the plan it has."""

    network: nn.Module
    epochs: float
    precision: Precision
    plan: CompressionPlan

    def resulted_json(self, asked: CompressionPlan) -> dict[str, Any]:
        """The plan as JSON where it is another than what was asked for; else nothing."""
        return {} if self.plan == asked else self.plan.model_dump(mode="json", exclude_defaults=True)


@dataclass
class Carried:
    """What goes from stage to stage besides the network: the arithmetic, the steps done in each stage that is over, the
    network after its dense stage, where it teaches the later ones, the plan with what its requests came down to so far,
    the first moments of the last stage's optimizer, and the state early in the dense stage that pruning goes back to.
    """

    precision: Precision
    steps: list[int]
    teacher: nn.Module | None
    plan: CompressionPlan
    momenta: Mapping[str, Tensor] = field(default_factory=dict)
    early: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Moment:
    """A training between two epochs: the stage, by its number, and how much of the schedule is over.

    `carried` is a copy of what goes on to the next stage. `copied` makes a copy of the network with the weights that
    would go on if the stage ended here.
    """

    pipeline: TrainingPipeline
    stage: int
    done: float
    carried: Carried
    copied: Callable[[], nn.Module]


@dataclass(frozen=True)
class Look:
    """What was seen at a rung: figures by name, and the epochs that a copy was trained for it."""

    scores: Mapping[str, float]
    copy_epochs: float


def unseen(share: float, *_: object) -> Look:
    raise ValueError(f"rung {share:g}: expected a function that looks at it, got none")


@dataclass(frozen=True)
class TrainingPipeline:
    """Everything one candidate's training depends on; `training` is resolved: its numbers are plain numbers.

    `validation` is what `patience` watches; `recorded` (images, classes) the logits of a reference teacher, `guide` is
    that teacher itself, where what it holds inside teaches too.
    `choose_precision` is asked once, and its answer kept in the checkpoint. At each of the `rungs`, shares of the
    epochs, `look` is asked with the share and the epochs done; it must leave the training alone. `small` are the images
    of `feed` in a smaller size, for the stages before the quantization-aware one. Unless it `folds`, batch norm is left
    in the network, as in a teacher that is no candidate. `tell` hears about once a second how
    far it is.
    """

    training: Recipe
    candidate: Candidate
    feed: Feed
    epochs: int
    checkpoint: Path
    compression: Compression = field(default_factory=Compression)
    class_weights: Tensor | None = None
    validation: tuple[Tensor, Tensor] | None = None
    recorded: Tensor | None = None
    guide: nn.Module | None = None
    choose_precision: Callable[[nn.Module], Precision] = in_fp32
    rungs: tuple[float, ...] = ()
    look: Callable[[float, float, Moment], Look] = unseen
    small: Feed | None = None
    folds: bool = True
    tell: Tell = silent

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the whole training, in order."""
        return stages_of(self.training, self.epochs * self.feed.steps, self.candidate.plan)

    def feed_of(self, stage: Stage) -> Feed:
        """The images of a stage. Ranges of activations depend on the size, and weights are fitted to them."""
        return self.feed if self.small is None or stage.retraining.in_fp32 else self.small

    @property
    def batches(self) -> CalibrationBatches:
        """The images that statistics and ranges are set from."""
        return CalibrationBatches(self.feed)

    @property
    def options(self) -> Options:
        training = self.training
        post_training = PostTraining(training.calibration, training.bias_correction, training.equalization)
        keeps = training.batch_norm == "live"
        common = options_of(self.candidate, self.compression)
        return replace(common, keep_norms=keeps, post_training=post_training)

    def fit(self, network: nn.Module, give_way: Callable[[], None], *, report: Report = always_continue) -> Trained:
        """Train `network` (untrained, dense) through all stages.

        An earlier attempt's checkpoint is continued at the epoch after it. `report` is called after every epoch with
        what is done so far, earlier attempts included; unless it answers CONTINUE a checkpoint is saved and Interrupted
        raised. A rung is looked at, and reported, again where a checkpoint was saved there.
        """
        saved = load_checkpoint(self.checkpoint)
        first = saved["stage"] if saved is not None else 0
        precision = saved["precision"] if saved is not None else self.choose_precision(network)
        done: list[int] = saved["steps"] if saved is not None else []
        so_far = Carried(precision, done, self._saved_teacher(network, saved), self._saved_plan(saved))
        so_far.early = saved["early"] if saved is not None else None
        for index, stage in enumerate(self.stages):
            resumes = saved is not None and index == first
            network = self.change(network, stage, so_far, restoring=resumes or index < first)
            if index < first:
                network = stage.method.leave(network)
            else:
                run = StageRun(self, network, index, so_far, report=report)
                so_far.steps.append(run.train(saved if resumes else None, give_way))
                network, so_far.momenta = run.network, run.momenta
                require_finite(learned_values(network), f"after the {stage.name} stage")
                if index == 0 and self.teaches_itself:
                    so_far.teacher = run.master()
        network = self.finished(network, so_far)
        require_finite(learned_values(network), "after batch norm was folded")
        return Trained(network, sum(so_far.steps) / self.feed.steps, precision, so_far.plan)

    def _saved_plan(self, saved: Checkpoint | None) -> CompressionPlan:
        if saved is None or saved["plan"] is None:
            return self.candidate.plan
        return CompressionPlan.model_validate(saved["plan"])

    @property
    def teaches_itself(self) -> bool:
        """Whether the network, as its dense stage leaves it, teaches the later ones."""
        return self.training.distillation is not None and self.training.distillation.teacher == "self"

    @staticmethod
    def _saved_teacher(network: nn.Module, saved: Checkpoint | None) -> nn.Module | None:
        """The network after its dense stage, where a checkpoint of a later stage holds it."""
        if saved is None or saved["teacher"] is None:
            return None
        teacher = copy.deepcopy(network)
        teacher.load_state_dict(saved["teacher"])
        return teacher

    def change(self, network: nn.Module, stage: Stage, so_far: Carried, *, restoring: bool = False) -> nn.Module:
        """What is done to the network before a stage, and written into the plan of `so_far`.

        When restoring only its shape matters, weights follow, and the plan is that of the checkpoint.
        """
        for request in stage.requests:
            network = self._apply(network, request, so_far, restoring=restoring)
        return network

    def _apply(self, network: nn.Module, asked: Request, so_far: Carried, *, restoring: bool = False) -> nn.Module:
        request = replace(asked, record=asked.step.asked(so_far.plan))
        if request.record is None:  # a request that came down to nothing
            return network
        options = replace(self.options, evidence=self._evidence(so_far), only_shapes=restoring)
        if restoring:
            return apply_step(network, request, options)
        request = resolved(network, request, options)
        so_far.plan = request.step.written(so_far.plan, request.record)
        if so_far.early is not None and request.step.name in SHAPINGS:
            so_far.early = self._reshaped(so_far.early, network, request)
        return apply_step(network, request, options, self.batches)

    def _reshaped(self, early: dict[str, Tensor], network: nn.Module, request: Request) -> dict[str, Tensor]:
        """The early weights as a step leaves them: what goes back to them has the layers that it makes."""
        twin = copy.deepcopy(network)
        twin.load_state_dict(early)
        return dict(apply_step(twin, request, self.options).state_dict())

    def _evidence(self, so_far: Carried) -> Evidence:
        return Evidence(Examples(self.feed), so_far.momenta, early=so_far.early, seed=self.feed.seed)

    def finished(self, network: nn.Module, so_far: Carried) -> nn.Module:
        """The network as it is shipped: with the steps that no training follows, and folded."""
        for request in trailing_requests(self.candidate.plan):
            network = self._apply(network, request, so_far)
        return folded(network, requests_of(self.candidate.plan)) if self.folds else network

    def loss(self, network: nn.Module, dense: nn.Module | None) -> Loss:
        """The loss of a stage of `network`; `dense` is what it was after its dense stage, None before that is over."""
        training, options = self.training, self.training.distillation
        plain = Loss(label_smoothing=training.label_smoothing, class_weights=self.class_weights)
        if options is None:
            return plain
        taught = replace(plain, weight=decided(options.weight), temperature=decided(options.temperature))
        if options.teacher == "self":
            return plain if dense is None else self._taught_by(dense, taught, network)
        if self.guide is not None:
            return self._taught_by(self.guide, taught, network)
        if self.recorded is None or options.looks_inside:
            expected = "the network itself" if options.looks_inside else "its logits"
            raise ValueError(f"distillation from a reference: expected {expected}, got none")
        return replace(taught, teacher=recorded_teacher(self.recorded))

    def _taught_by(self, master: nn.Module, loss: Loss, network: nn.Module) -> Loss:
        """The loss with a network as teacher, whose hidden values teach where they have a weight."""
        options = self.training.distillation
        assert options is not None
        hints = hints_of(options, network, master, next(iter(self.batches))) if options.looks_inside else None
        return replace(loss, teacher=network_teacher(master), hints=hints)


class StageRun:
    """One stage of a training: its optimizer, average and early stopping, and how they are kept in the checkpoint."""

    def __init__(
        self,
        pipeline: TrainingPipeline,
        network: nn.Module,
        index: int,
        so_far: Carried,
        *,
        report: Report,
    ) -> None:
        training, validation, stage = pipeline.training, pipeline.validation, pipeline.stages[index]
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
        self.momenta: Mapping[str, Tensor] = {}  # the optimizer's, once the stage is over
        self._saved = 0  # finished epochs of the stage that the checkpoint holds

    def train(self, saved: Checkpoint | None, give_way: Callable[[], None]) -> int:
        """Train through the stage, from a checkpoint of it on where there is one; returns the steps done."""
        start = 0 if saved is None else self._restore(saved)
        if saved is None:
            self._loss.fit(CalibrationBatches(self._pipeline.feed_of(self._stage)))
        if start and (share := self._rung_at(start)) is not None:
            self._tell(self._seen(share, start), start)
        done = train_stage(
            self.network,
            self._pipeline.feed_of(self._stage),
            self._pipeline.training,
            self._stage,
            start_epoch=start,
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
        self.momenta = first_moments(self.network, self._optimizer)
        self.hand_over()
        return done

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

        return after

    @property
    def _early_step(self) -> int | None:
        """The step after which the state is kept that pruning goes back to; None in other stages than the dense one."""
        share = self._pipeline.compression.rewind
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
            with self._average.applied() if self._average is not None else nullcontext():
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
            if done != self._saved:
                self._save(done)
            raise Interrupted(verdict, rung)

    def _rung_at(self, done: int) -> float | None:
        """The rung that the last of `done` epochs of the stage has reached."""
        return rung_between(self._pipeline.rungs, self._pipeline.epochs, self._epochs(done - 1), self._epochs(done))

    def _seen(self, share: float, done: int) -> Rung:
        """The rung, looked at; torch's global generator is left as it was."""
        pipeline, so_far, device = self._pipeline, self._so_far, self._pipeline.feed.images.device
        carried = replace(so_far, momenta=first_moments(self.network, self._optimizer))
        moment = Moment(pipeline, self._index, self._place(done), carried, self._copied)
        epochs = self._epochs(done)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            look = pipeline.look(share, epochs, moment)
        return Rung(epochs, pipeline.epochs, share, look.scores, look.copy_epochs)

    def _place(self, done: int) -> float:
        """How much of the schedule is over after `done` epochs of the stage."""
        stage = self._stage
        within = min(done * self._pipeline.feed.steps, stage.steps) / max(1, stage.steps)
        return stage.start + within * (stage.stop - stage.start)

    def _copied(self) -> nn.Module:
        with self._average.applied() if self._average is not None else nullcontext():
            network = copy.deepcopy(self.network)
        self._stage.method.end_stage(network)  # whether ranges move or norms are frozen is in no checkpoint
        if self._average is not None:
            self._stage.method.averaged(network)
        return self._stage.method.leave(network)

    def _epochs(self, done: int) -> float:
        """Epochs of the whole training after `done` of this stage, whose last may be a part of one."""
        steps = self._pipeline.feed.steps
        return (sum(self._so_far.steps) + min(done * steps, self._stage.steps)) / steps

    def _save(self, epoch: int) -> None:
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
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self._pipeline.checkpoint, buffer.getvalue())
        self._saved, self._last_saved = epoch, time.monotonic()

    def _restore(self, saved: Checkpoint) -> int:
        """Load what was saved; returns the number of finished epochs of the stage."""
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
        self._saved = saved["epoch"]
        return self._saved
