"""Compression as a sequence of steps: what a plan asks for is applied row by row of the table STEPS.

`compress` does all of it to a copy of a network. A training applies the same rows one by one, with a stage behind each
that has one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.folding import fold_batch_norm
from compressors.formats import UNSIGNED_8, ActivationScheme
from compressors.low_rank.paths import located
from compressors.plan import CompressionPlan
from compressors.pruning.criteria import IMPORTANCES, Criterion
from compressors.pruning.places import Group
from compressors.steps import STEPS, Request, Step, requests_of

__all__ = [
    "STEPS", "Method", "Options", "PostTraining", "Request", "Step", "apply_step", "compress", "requests_of",
    "resolved",
]  # fmt: skip


@dataclass(frozen=True)
class PostTraining:
    """How a network is quantized without training: what sets the ranges of activations (a row of CALIBRATIONS), whether
    biases make up for the rounding of weights, and whether ranges are equalized across layers before.
    """

    calibration: str = "minmax"
    bias_correction: bool = True
    equalization: bool = False


@dataclass(frozen=True)
class Options:
    """What steps need to know besides the plan: the network's channel groups, what ranks channels, the formats whose
    step sizes are trained, the grid of activations, whether batch norm stays alive while quantization is trained, and
    how it is done without training.

    `evidence` is what a training knows; None where nothing was trained. `gradual` says whether what is pruned goes
    little by little in the stage that follows. With `only_shapes` weights are not real yet: what depends on them does
    not matter.
    """

    groups: Sequence[Group] = ()
    importance: Criterion = IMPORTANCES["l2"]
    learned: Collection[str] = ()
    scheme: ActivationScheme = UNSIGNED_8
    keep_norms: bool = False
    post_training: PostTraining = PostTraining()
    evidence: Evidence | None = None
    gradual: bool = False
    only_shapes: bool = False


def nothing(*_: Any) -> None:
    """Do nothing: the default of what a method may leave out."""


def unchanged(network: nn.Module, *_: Any) -> nn.Module:
    """The network itself."""
    return network


def as_asked(_: nn.Module, record: Any, __: Options) -> Any:
    """The record itself."""
    return record


@dataclass(frozen=True)
class Method:
    """What a step does to a network, and to the training behind it.

    resolve: network, a record that depends on weights, options -> the record of what it comes down to; before `apply`.
    apply: network, the step's record, options -> the network, which may be the same object, changed in place.
    settle: network, batches of images; sets once, when weights are real, what depends on them and on data.
    begin_epoch: network, share of the stage's epochs that are done; before each epoch of the stage.
    before_step: network, share of the stage's steps that are done; before each step of the stage.
    averaged: network; when its weights have become the average over the stage's steps.
    end_stage: network; after the stage's last step, and a copy that is scored as if the stage ended there.
    leave: network -> network, which may be the same; when the stage is over, before the next step.
    finish: network -> network, which may be the same; when all training is over.
    """

    resolve: Callable[[nn.Module, Any, Options], Any] = as_asked

    apply: Callable[[nn.Module, Any, Options], nn.Module] = unchanged
    settle: Callable[[nn.Module, Iterable[Tensor]], None] = nothing
    begin_epoch: Callable[[nn.Module, float], None] = nothing
    before_step: Callable[[nn.Module, float], None] = nothing
    averaged: Callable[[nn.Module], None] = nothing
    end_stage: Callable[[nn.Module], None] = nothing
    leave: Callable[[nn.Module], nn.Module] = unchanged
    finish: Callable[[nn.Module], nn.Module] = unchanged


def resolved(network: nn.Module, request: Request, options: Options) -> Request:
    """The request for this network with its weights: as it is, where it depends on none."""
    if not request.step.depends(request.record):
        return request
    options = _located(network, options)
    return replace(request, record=request.step.loaded().resolve(network, request.record, options))


def apply_step(
    network: nn.Module, request: Request, options: Options, batches: Iterable[Tensor] | None = None
) -> nn.Module:
    """Apply one step, and settle it on batches where there are any; may change `network` in place.

    A record that depends on weights has to be resolved before.
    """
    method = request.step.loaded()
    network = method.apply(network, request.record, _located(network, options))
    if batches is not None:
        method.settle(network, batches)
    return network


def _located(network: nn.Module, options: Options) -> Options:
    """The options with channel groups by the modules that hold them now: a member may have been factored."""
    return replace(options, groups=located(network, options.groups))


def compress(
    network: nn.Module, plan: CompressionPlan, options: Options, batches: Iterable[Tensor], *, trained: bool = True
) -> nn.Module:
    """A copy of `network` with every step of the plan applied and settled on `batches` (N, C, H, W), and folded.

    Of an untrained network (trained=False) only grids are settled: statistics of random weights say nothing.
    Stages are taken to be over at once.
    Raises ValueError for steps that cannot be combined, Unsupported for layers that a step cannot change.
    """
    network = copy.deepcopy(network)
    if isinstance(batches, Iterator):
        batches = list(batches)  # every step that settles reads them
    options, requests = replace(options, only_shapes=not trained), requests_of(plan)
    for request in requests:
        is_settled = trained or request.step.shapes_grids
        network = apply_step(network, resolved(network, request, options), options, batches if is_settled else None)
        network = request.step.loaded().leave(network)
    return folded(network, requests)


def folded(network: nn.Module, requests: Sequence[Request]) -> nn.Module:
    """The network as it is shipped, after these steps: each finished, and batch norm folded, if none has done that."""
    for request in requests:
        network = request.step.loaded().finish(network)
    return network if any(request.step.folds for request in requests) else fold_batch_norm(network)
