"""An example of every compression step, on one small network in which each has a place of its own.

Whoever adds a row to STEPS adds its example here; `tests/compressors/test_contract.py` then runs over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from compressors.formats import FORMATS as ALL_FORMATS
from compressors.plan import CompressionPlan
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import FusedInvertedResidualConfig, InvertedResidualConfig
from search_spaces.network import build_network

CLASSES = 4
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(
            width=8,
            stride=1,
            blocks=(InvertedResidualConfig(kernel=3, expansion=2), InvertedResidualConfig(kernel=3, expansion=2)),
        ),
        StageConfig(
            width=16,
            stride=2,
            blocks=(FusedInvertedResidualConfig(kind="fused_inverted_residual", kernel=3, expansion=2),),
        ),
    ),
    head=HeadConfig(width=16),
)
WIDTH, HALF = 16, 8  # inner channels of the second stage's block
WHOLE = {"network": True}


def small_network(seed: int = 0) -> nn.Module:
    """Dense and in eval mode, with batch norms that have seen something."""
    return shaken(build_network(ARCHITECTURE, CLASSES, seed=seed), seed)


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network, in eval mode, with batch norms that have seen something and a classifier that says something."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.running_mean, -0.5)):
                tensor.data.uniform_(low, low + 1, generator=random)
            module.bias.data.uniform_(-0.2, 0.2, generator=random)
    classifier = network.get_submodule("classifier")
    classifier.weight.data.normal_(std=0.5, generator=random)
    return network.eval()


@dataclass(frozen=True)
class Example:
    """What a step is asked for. nothing: a plan by which it must leave the outputs as they are. spared: makes a network
    of which `plan` takes only what says nothing, so that its outputs stay as well; None where there is no such thing.
    more: other requests of the same step, whose files have to be as foretold too.
    """

    plan: CompressionPlan
    nothing: CompressionPlan | None = None
    spared: Callable[[nn.Module], None] | None = None
    more: tuple[CompressionPlan, ...] = ()


def _idle_channels(network: nn.Module) -> None:
    """Half of the channels give zeros."""
    norm = network.get_submodule("stage2.block1.expand_bn")
    network.get_submodule("stage2.block1.expand").weight.data[::2] = 0
    for tensor in (norm.weight, norm.bias):
        tensor.data[::2] = 0


def _idle_block(network: nn.Module) -> None:
    """The block adds zeros to its input."""
    norm = network.get_submodule("stage1.block2.project_bn")
    norm.weight.data.zero_()
    norm.bias.data.zero_()


def _half_zeros(network: nn.Module) -> None:
    weight = network.get_submodule("head.conv").weight.data
    weight.view(-1)[::2] = 0


def _rank_two(network: nn.Module) -> None:
    weight = network.get_submodule("stage2.block1.project").weight.data
    u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    weight.copy_(((u[:, :2] * s[:2]) @ v[:2]).view_as(weight))


FORMATS = {"stage2.block1.expand": "int8", "stage2.block1.project": "int4", "classifier": "int8"}
LAYERS = tuple(layer.name for layer in ARCHITECTURE.layers(CLASSES))
EXAMPLES: dict[str, Example] = {
    "blocks_removed": Example(
        CompressionPlan(steps={"blocks_removed": {"stage1.block2": True}}), spared=_idle_block
    ),
    "activations_removed": Example(
        CompressionPlan(steps={"activations_removed": {"stage1.block1": True}}),
        more=(CompressionPlan(steps={"activations_removed": {"stage2.block1": True, "stage1.block1": True}}),),
    ),
    "low_rank": Example(
        CompressionPlan(steps={"low_rank": {"stage2.block1.project": {"method": "svd", "rank": 2}}}),
        nothing=CompressionPlan(steps={"low_rank": {"stage2.block1.project": {"method": "svd", "rank": WIDTH}}}),
        spared=_rank_two,
        more=tuple(
            CompressionPlan(steps={"low_rank": {"stage2.block1.expand": {"method": method, "rank": 3}}})
            for method in ("svd", "spatial_svd", "tucker", "cp")
        ),
    ),
    "pruned": Example(
        CompressionPlan(kept={"stage2.block1.inner": HALF}),
        nothing=CompressionPlan(kept={"stage2.block1.inner": WIDTH}),
        spared=_idle_channels,
        more=(
            CompressionPlan(kept={"stem.width": HALF // 2, "stage1.block1.inner": HALF}),
            CompressionPlan(kept={"stage2.width": HALF, "stage2.block1.inner": HALF}),
        ),
    ),
    "masked": Example(
        CompressionPlan(steps={"masked": {"head.conv": {"ratio": 0.5}}}),
        nothing=CompressionPlan(steps={"masked": {"head.conv": {"ratio": 0.0}}}),
        spared=_half_zeros,
        more=(
            CompressionPlan(steps={"masked": {"head.conv": {"ratio": 0.9}, "classifier": {"zeros": 20}}}),
            CompressionPlan(steps={"masked": {"stage2.block1.expand": {"ratio": 0.7, "by": "sensitivity"}}}),
        ),
    ),
    "quantized": Example(
        CompressionPlan.model_validate({"formats": FORMATS}),
        nothing=CompressionPlan.model_validate({"formats": dict.fromkeys(FORMATS, "fp32")}),
        more=tuple(
            CompressionPlan.model_validate({"formats": dict.fromkeys(LAYERS, name)})
            for name, one in ALL_FORMATS.items()
            if not one.is_float
        ),
    ),
    "calibrated": Example(CompressionPlan.model_validate({"formats": FORMATS, "steps": {"calibrated": WHOLE}})),
    "dynamic": Example(CompressionPlan(formats={"classifier": "int8"}, steps={"dynamic": WHOLE})),
}  # fmt: skip

# What each step is asked of the very layers that others change too: a merged projection, the classifier, both ends of
# the first stage. Each in a place of its own, as above, they might only pass each other.
PROJECT, INTEGERS = "stage2.block1.project", {"stem.conv": "int8", "stage2.block1.project": "int4"}
SHARED: dict[str, CompressionPlan] = {
    name: CompressionPlan.model_validate(plan)
    for name, plan in {
        "blocks_removed": {"steps": {"blocks_removed": {"stage1.block2": True}}},
        "activations_removed": {"steps": {"activations_removed": {"stage2.block1": True, "stage1.block1": True}}},
        "low_rank": {
            "steps": {
                "low_rank": {PROJECT: {"method": "svd", "rank": 3}, "classifier": {"method": "svd", "rank": 2}}
            }
        },
        "pruned": {"kept": {"stem.width": 4, "stage2.width": 8, "stage1.block1.inner": HALF}},
        "masked": {
            "steps": {"masked": {PROJECT: {"ratio": 0.5}, "classifier": {"ratio": 0.4}, "stem.conv": {"zeros": 7}}}
        },
        "quantized": {"formats": {**INTEGERS, "classifier": "int8"}},
        "calibrated": {"formats": {**INTEGERS, "classifier": "int8"}, "steps": {"calibrated": WHOLE}},
        "dynamic": {"formats": {"classifier": "int8"}, "steps": {"dynamic": WHOLE}},
    }.items()
}  # fmt: skip


def together(plans: Iterable[CompressionPlan]) -> CompressionPlan:
    """What all of them ask for; of two formats of a layer the later one."""
    kept, formats, steps = dict[str, int](), dict[str, str](), dict[str, object]()
    for plan in plans:
        kept |= plan.kept
        formats |= plan.formats
        steps |= plan.steps
    return CompressionPlan.model_validate({"kept": kept, "formats": formats, "steps": steps})
