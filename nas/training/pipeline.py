"""A candidate's training from end to end: stages, with compression steps between; continued from a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from compressors.formats import ActivationScheme
from compressors.pipeline import Options, PostTraining, Request, apply_step, folded, requests_of, resolved
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES
from nas.candidates.candidate import Candidate
from nas.candidates.shaping import SHAPINGS
from nas.study import Compression, Recipe
from nas.study.numbers import decided
from nas.tasks import Tell, silent
from nas.training.augmentation import Feed
from nas.training.carried import Carried
from nas.training.checkpoint import load_checkpoint
from nas.training.divergence import learned_values, require_finite
from nas.training.hints import hints_of
from nas.training.inference import CalibrationBatches
from nas.training.losses import Loss, network_teacher, recorded_teacher
from nas.training.precision import Precision
from nas.training.reporting import Look, Report, Snapshot, always_continue, unseen
from nas.training.stage_run import StageRun
from nas.training.stages import Stage, stages_of, trailing_requests


def in_fp32(_: nn.Module) -> Precision:
    return "fp32"


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


@dataclass(frozen=True)
class TrainingPipeline:
    """Everything one candidate's training depends on; `training` is resolved: its numbers are plain numbers.

    `validation` is what `patience` watches; `recorded` (images, classes) the logits of a reference teacher, `guide` is
    that teacher itself, where what it holds inside teaches too.
    `choose_precision` is asked once, and its answer kept in the checkpoint. At each of the `rungs`, shares of the
    epochs, `look` is asked with the share and the epochs done; it must leave the training alone. `small` are the images
    of `feed` in a smaller size, for the stages before the quantization-aware one. Unless it `folds`, batch norm is left
    in the network, as in a teacher that is no candidate. `tell` hears about once a second how far it is.
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
    look: Callable[[float, float, Snapshot], Look] = unseen
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
        if saved is None:
            first, so_far = 0, Carried(self.choose_precision(network), self.candidate.plan)
        else:
            first, so_far = saved["stage"], Carried.of(saved, network, self.candidate.plan)
        for index, stage in enumerate(self.stages):
            resumes = saved is not None and index == first
            network = self.change(network, stage, so_far, restoring=resumes or index < first)
            if index < first:
                network = stage.method.leave(network)
            else:
                run = StageRun(self, network, index, so_far, report=report)
                network = run.train(saved if resumes else None, give_way)
                require_finite(learned_values(network), f"after the {stage.name} stage")
        network = self.finished(network, so_far)
        require_finite(learned_values(network), "after batch norm was folded")
        return Trained(network, sum(so_far.steps) / self.feed.steps, so_far.precision, so_far.plan)

    @property
    def teaches_itself(self) -> bool:
        """Whether the network, as its dense stage leaves it, teaches the later ones."""
        return self.training.distillation is not None and self.training.distillation.teacher == "self"

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
        options = replace(self.options, evidence=so_far.evidence(self.feed), only_shapes=restoring)
        if restoring:
            return apply_step(network, request, options)
        request = resolved(network, request, options)
        so_far.plan = request.step.written(so_far.plan, request.record)
        if so_far.early is not None and request.step.name in SHAPINGS:
            so_far.early = self._reshaped(so_far.early, network, request)
        network = apply_step(network, request, options, self.batches)
        if so_far.early is not None and request.step.name == "pruned" and request.record.kept:  # it went back to them
            so_far.early = {name: value.clone() for name, value in network.state_dict().items()}
        return network

    def _reshaped(self, early: dict[str, Tensor], network: nn.Module, request: Request) -> dict[str, Tensor]:
        """The early weights as a step leaves them: what goes back to them has the layers that it makes."""
        twin = copy.deepcopy(network)
        twin.load_state_dict(early)
        return dict(apply_step(twin, request, self.options).state_dict())

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
