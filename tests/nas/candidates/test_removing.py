"""What removal leaves of a candidate: its layers, groups, ids and costs, against the network itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from candidates import Recording
from onnxruntime import InferenceSession
from torch import nn

from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.pruning import prune, weight_norm
from compressors.removal import remove_activations, remove_blocks
from nas.candidates.candidate import Candidate
from nas.candidates.counting import space_size
from nas.candidates.features import Features
from nas.candidates.removing import ACTIVATIONS, BLOCKS
from nas.candidates.sampling import sample
from nas.measuring.latency_terms import work_of
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.onnxruntime import integer_layers
from nas.runtimes.runtime import FileHeader
from nas.study import Compression, Study, Target
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import FusedInvertedResidualConfig, InvertedResidualConfig, ResidualConfig
from search_spaces.network import build_network
from search_spaces.spaces import MixedSpace, MobileSpace, ShuffleSpace, Space
from search_spaces.trials import Pick, last

torch.set_num_threads(1)

CLASSES = tuple("abcdefghij")
SPACES: dict[str, Space] = {
    "mobile": MobileSpace.model_validate({"family": "mobile", "preset": "8px"}),
    "shuffle": ShuffleSpace.model_validate({"family": "shuffle", "preset": "8px"}),
    "mixed": MixedSpace.model_validate({"family": "mixed", "preset": "8px"}),
}
FREEDOM: dict[str, Any] = {
    "pruning_ratio": (0.0, 0.5), "granularity": "layer", "edges_below_int8": True, "stage_widths": True,
    "remove_blocks": (False, True), "remove_activations": (False, True),
}  # fmt: skip
FUSED = FusedInvertedResidualConfig(kind="fused_inverted_residual", kernel=3, expansion=2)
MOBILE = InvertedResidualConfig(kernel=3, expansion=2, activation="hardswish")
SMALL = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(FUSED, MOBILE)),
        StageConfig(width=16, stride=2, blocks=(MOBILE, ResidualConfig(kind="residual", kernel=3))),
    ),
    head=HeadConfig(width=16),
)


def candidate(*, kept: dict[str, int] | None = None, formats: dict[str, Any] | None = None, **steps: Any) -> Candidate:
    plan = CompressionPlan(kept=kept or {}, formats=formats or {}, steps=steps)
    return Candidate.from_json(Candidate.model_construct(architecture=SMALL, plan=plan).to_json())


def drawn(family: str, seed: int, formats: tuple[str, ...]) -> Candidate:
    compression = Compression.model_validate({**FREEDOM, "weight_format": formats})
    return sample(Pick(random.Random(seed).choice), SPACES[family], compression, input_channels=3)


def network_of(given: Candidate, seed: int = 0) -> nn.Module:
    size, channels = given.architecture.input_size, given.architecture.input_channels
    images = [torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(seed))]
    network = build_network(given.architecture, len(CLASSES), seed=seed)
    return compress(network, given.plan, Options(groups=given.groups()), images, trained=False)


@pytest.mark.parametrize("formats", [("fp32",), ("int8", "int4"), ("fp32", "int8")], ids="-".join)
@pytest.mark.parametrize("family", SPACES)
def test_the_file_is_as_the_records_say(family: str, formats: tuple[str, ...]) -> None:
    for seed in range(3):
        given = drawn(family, seed, formats)
        header = FileHeader(3, given.architecture.input_size, CLASSES)
        model = emit(network_of(given, seed), header)
        costs, foretold = read_costs(model), forecast(given, header)
        assert foretold is not None
        assert (costs.parameters, costs.macs) == (given.parameters(10), given.macs(10))
        assert costs.peak_memory_bytes == foretold.peak_memory_bytes
        allowed = max(5 * foretold.size_sd, 0.004 * foretold.size_bytes) if given.plan.formats else 0
        assert abs(foretold.size_bytes - len(model.SerializeToString())) <= allowed
        assert given.layers(10)[-1].name == "classifier"
        assert work_of(given, 10).total.sum() > 0


@pytest.mark.parametrize("formats", [("fp32",), ("int8",)], ids="-".join)
def test_the_runtime_computes_what_torch_does_in_the_kernels_asked_for(
    formats: tuple[str, ...], tmp_path: Path
) -> None:
    blocks = {"stage1.block1": True, "stage2.block1": True}
    given = candidate(
        formats={layer.name: formats[0] for layer in SMALL.layers(10)},
        **{ACTIVATIONS: blocks, BLOCKS: {"stage1.block2": True}},
    )
    network = network_of(given).eval()
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(network, FileHeader(1, 8, CLASSES)).SerializeToString())
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
    found = InferenceSession(file).run(None, {"image": images.numpy()})[0]
    expected = network(images).detach().numpy()
    assert np.abs(found - expected).max() < (1e-4 if formats == ("fp32",) else 0.05) * np.abs(expected).max()
    layers = {layer.name for layer in given.layers(10)}
    assert integer_layers(file, Target(name="cpu")) & layers == (set() if formats == ("fp32",) else layers)


def test_drawn_candidates_are_canonical_and_come_back() -> None:
    for family, seed in ((family, seed) for family in SPACES for seed in range(8)):
        given = drawn(family, seed, ("fp32", "int4"))
        assert Candidate.from_json(given.to_json()) == given
        assert given.structure_id(10) != given.model_copy(update={"plan": CompressionPlan()}).structure_id(10)


def test_decisions_of_what_is_gone_are_dropped() -> None:
    gone = candidate(**{BLOCKS: {"stage1.block2": True}})
    also = candidate(
        kept={"stage1.block2.inner": 8},
        formats={"stage1.block2.expand": "int4"},
        **{BLOCKS: {"stage1.block2": True}, ACTIVATIONS: {"stage1.block2": True}},
    )
    assert also.id == gone.id
    merged = candidate(**{ACTIVATIONS: {"stage1.block1": True}})
    same = candidate(
        kept={"stage1.block1.inner": 8},
        formats={"stage1.block1.expand": "int4"},
        **{ACTIVATIONS: {"stage1.block1": True}},
    )
    assert same.id == merged.id != candidate().id
    assert candidate(kept={"stage1.block2.inner": 8}, **{ACTIVATIONS: {"stage1.block2": True}}).plan.kept


def test_removed_parts_cost_nothing() -> None:
    whole, less = candidate(), candidate(**{BLOCKS: {"stage1.block1": True, "stage2.block2": True}})
    own = [layer for layer in whole.layers(10) if layer.block in ("stage1.block1", "stage2.block2")]
    assert whole.parameters(10) - less.parameters(10) == sum(layer.parameters for layer in own) > 0
    assert whole.macs(10) - less.macs(10) == sum(layer.macs for layer in own)
    assert {layer.block for layer in less.layers(10)} == {layer.block for layer in whole.layers(10)} - {
        "stage1.block1",
        "stage2.block2",
    }


def test_every_block_may_go() -> None:
    architecture = SMALL.model_copy(update={"stages": SMALL.stages[:1]})
    plan = CompressionPlan(steps={BLOCKS: {"stage1.block1": True, "stage1.block2": True}})
    given = Candidate(architecture=architecture, plan=plan)
    assert [layer.name for layer in given.layers(10)] == ["stem.conv", "head.conv", "classifier"]
    assert network_of(given)(torch.rand(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("stage_widths", [True, False])
def test_groups_are_those_of_the_layers_that_stay(stage_widths: bool) -> None:
    given = candidate(**{BLOCKS: {"stage1.block2": True}, ACTIVATIONS: {"stage1.block1": True}})
    groups = {group.name: group for group in given.groups()}
    assert groups.keys() == {g.name for g in SMALL.all_groups()} - {"stage1.block1.inner", "stage1.block2.inner"}
    assert ("stage1.block1.project", 1) in groups["stem.width"].members
    network = build_network(SMALL, 10, seed=0)
    remove_blocks(network, ["stage1.block2"])
    remove_activations(network, ["stage1.block1"])
    names = ["stem.width", "stage2.block1.inner"] if stage_widths else ["stage2.block1.inner"]
    prune(network, given.groups(), dict.fromkeys(names, 4), importance=weight_norm(2))
    assert network.eval()(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    left = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    pruned = candidate(
        kept=dict.fromkeys(names, 4), **{BLOCKS: {"stage1.block2": True}, ACTIVATIONS: {"stage1.block1": True}}
    )
    assert {n: (m.in_channels, m.out_channels) for n, m in left.items()} == {
        layer.name: (layer.in_channels, layer.out_channels) for layer in pruned.layers(10)[:-1]
    }


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({BLOCKS: {"stage2.block1": True}}, r"plan\.steps\.blocks_removed: expected a block with a skip, got stage2"),
        ({BLOCKS: {"stage7.block1": True}}, "plan names stage7.block1, which this architecture does not have"),
        ({ACTIVATIONS: {"stem": True}}, "plan names stem, which this architecture does not have"),
        ({BLOCKS: {"stage1.block1": "yes"}}, "expected true, or no such key, got 'yes'"),
    ],
)
def test_impossible_removals_are_named(steps: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        candidate(**steps)


def test_ids_without_removal_are_as_before() -> None:
    """Of the same network in the version before."""
    assert "steps" not in candidate().to_json().get("plan", {})
    assert candidate(**{BLOCKS: {}}).id == candidate().id


@pytest.mark.parametrize("granularity", ["network", "stage", "block", "layer"])
def test_a_gene_for_each_scope_that_holds_a_block_with_a_skip(granularity: str) -> None:
    stages = ({"depths": (2,), "widths": (16,)}, {"depths": (3,), "widths": (24,)})
    space = MobileSpace.model_validate({"family": "mobile", "preset": "8px", "stages": stages})
    compression = Compression.model_validate({"granularity": granularity, "remove_blocks": (False, True)})
    asked = Recording(Pick(last))
    given = sample(asked, space, compression, input_channels=1)
    may_go = {site.name for site in given.architecture.blocks() if site.has_skip}
    assert may_go >= {"stage1.block2", "stage2.block2", "stage2.block3"}
    assert set(given.plan.steps[BLOCKS]) == may_go
    scopes = {"network": {"network"}, "stage": {name.partition(".")[0] for name in may_go}}.get(granularity, may_go)
    own = {gene.removesuffix(".remove_blocks") for gene in asked.genes if gene.endswith(".remove_blocks")}
    assert own == scopes
    plain = Compression.model_validate({"granularity": granularity})
    assert space_size(space, compression) == space_size(space, plain) * 2 ** len(scopes)


def test_a_single_value_is_no_gene() -> None:
    compression = Compression.model_validate({"remove_activations": True})
    asked = Recording(Pick(last))
    given = sample(asked, SPACES["mobile"], compression, input_channels=1)
    assert not [gene for gene in asked.genes if "remove" in gene]
    assert set(given.plan.steps[ACTIVATIONS]) == {site.name for site in given.architecture.blocks()}


def test_a_model_of_accuracy_sees_what_is_removed() -> None:
    features = Features(2, ("inverted_residual", "fused_inverted_residual", "residual"))
    whole = features(candidate(), 10)
    less = features(candidate(**{BLOCKS: {"stage1.block2": True}, ACTIVATIONS: {"stage2.block2": True}}), 10)
    changed = dict(zip(features.names, (less - whole).tolist(), strict=True))
    assert changed["stage1.depth"] == -1
    assert changed["stage2.linear"] == 0.5
    assert changed["stage1.linear"] == changed["stage2.depth"] == 0


@pytest.mark.parametrize(
    ("key", "kind"), [("remove_blocks", "shuffle"), ("remove_blocks", "plain"), ("remove_activations", None)]
)
def test_a_space_in_which_nothing_can_be_removed_is_refused(
    key: str, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"kernels": (3,), "activations": ("relu",)} | ({"expansions": (1,)} if kind != "plain" else {})
    space = {"family": "mixed", "preset": "8px", "blocks": {kind or "shuffle": block}}
    if kind is None:
        monkeypatch.setattr("search_spaces.flows.FLOWS", {"plain": None})
    with pytest.raises(ValueError, match=rf"compression\.{key}: expected .*, got .*{kind or 'shuffle'}"):
        Study.model_validate(
            {"name": "t", "data": {"source": "digits"}, "space": space, "compression": {key: (False, True)}}
        )
