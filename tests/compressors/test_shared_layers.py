"""Steps that act on the very same layers, in every format and in every kind of block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from contract import LEGAL, batches, check_answers, file_of, options, wholes
from step_examples import ARCHITECTURE, CLASSES, LAYERS, SHARED, shaken, together
from torch import nn

from compressors.formats import FORMATS
from compressors.pipeline import STEPS, compress, requests_of
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.zeros import mask_of_plan, zeros_in
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.zeros import count_zeros
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig, PlainConfig, ResidualConfig, ShuffleConfig
from search_spaces.network import build_network

torch.set_num_threads(1)


def settled(candidate: Candidate, *, keep_norms: bool = False) -> tuple[Candidate, nn.Module]:
    """The candidate in canonical form and what becomes of its network, by its own channel groups."""
    candidate = Candidate.from_json(candidate.to_json())
    network = build_network(candidate.architecture, CLASSES, seed=0)
    own = replace(options(), groups=candidate.groups(), keep_norms=keep_norms)
    return candidate, compress(shaken(network), candidate.plan, own, batches()).eval()


def check_shared(plan: CompressionPlan, architecture: Architecture = ARCHITECTURE, *, keep_norms: bool = False) -> None:
    """Layers, widths and zeros in the file are those of the closed form, and the runtime answers as torch does."""
    candidate, network = settled(Candidate(architecture=architecture, plan=plan), keep_norms=keep_norms)
    assert [request.step.name for request in requests_of(candidate.plan)] == [r.step.name for r in requests_of(plan)]
    model, mask = file_of(network), mask_of_plan(candidate.plan)
    costs = read_costs(model)
    layers = candidate.layers(CLASSES)
    assert costs.parameters == candidate.parameters(CLASSES)
    assert costs.macs == candidate.macs(CLASSES)
    zeros = sum(zeros_in(layer, mask) for layer in layers)
    assert count_zeros(model).nonzero_parameters <= costs.parameters - zeros
    check_answers(network)


@pytest.mark.parametrize("names", [*LEGAL, *wholes()], ids="-".join)
def test_what_acts_on_one_layer_does_too(names: tuple[str, ...]) -> None:
    check_shared(together(SHARED[name] for name in names))


@pytest.mark.parametrize("keep_norms", [False, True], ids=["folded", "live"])
@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.is_float])
def test_every_format_is_of_what_all_other_steps_left(name: str, keep_norms: bool) -> None:
    plan = together(SHARED[step] for step in wholes()[0] if not STEPS[step].folds)
    formats = {layer: name for layer in LAYERS if not layer.startswith("stage1.block2")}
    check_shared(CompressionPlan.model_validate({**plan.model_dump(), "formats": formats}), keep_norms=keep_norms)


ZOO = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=16),
    stages=(
        StageConfig(
            width=16,
            stride=1,
            blocks=(
                InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True, activation="hardswish"),
                ResidualConfig(kind="residual", kernel=3),
            ),
        ),
        StageConfig(width=32, stride=2, blocks=(ResidualConfig(kind="residual", kernel=3),)),
        StageConfig(width=32, stride=1, blocks=(ShuffleConfig(kind="shuffle", kernel=3),)),
        StageConfig(width=48, stride=2, blocks=(ShuffleConfig(kind="shuffle", kernel=3, expansion=2),)),
        StageConfig(width=24, stride=1, blocks=(PlainConfig(kind="plain", kernel=3),)),
    ),
    head=HeadConfig(width=24),
)


def everything(fmt: str) -> CompressionPlan:
    """All steps on every layer, group and block of the zoo that can have them."""
    layers = ZOO.layers(CLASSES)
    full = {layer.name: {"method": "svd", "ratio": 0.4} for layer in layers if layer.kind != "depthwise"}
    return CompressionPlan.model_validate(
        {
            "kept": {group.name: group.width // 2 for group in ZOO.all_groups()},
            "formats": {layer.name: fmt for layer in layers},
            "steps": {
                "blocks_removed": {"stage1.block2": True},
                "activations_removed": {site.name: True for site in ZOO.blocks()},
                "low_rank": full,
                "masked": {layer.name: {"ratio": 0.5} for layer in layers},
            },
        }
    )


@pytest.mark.parametrize("fmt", ["fp32", "int8", "int4", "ternary", "codebook3", "pow2"])
def test_every_kind_of_block_bears_all_of_it(fmt: str) -> None:
    check_shared(everything(fmt), ZOO)


@pytest.mark.parametrize("way", ["calibrated", "dynamic"])
def test_without_training_too(way: str) -> None:
    plan = everything("int8")
    formats = plan.formats if way == "calibrated" else {"classifier": "int8"}
    check_shared(CompressionPlan(kept=plan.kept, formats=formats, steps={**plan.steps, way: {"network": True}}), ZOO)
