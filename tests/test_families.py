"""One contract for every family of networks: names, shapes, pruning, integer kernels and parity, ids, counting."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compressors.pruning import prune, weight_norm
from compressors.quantization import observe, prepare, refresh_scales
from nas.candidates.candidate import Candidate
from nas.candidates.genes import all_genes
from nas.candidates.sampling import sample
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.runtimes.onnxruntime import Runner, integer_layers
from nas.study import Compression, Data, Study, Target
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import BlockConfig, InvertedResidualConfig, ResidualConfig, ShuffleConfig
from search_spaces.network import build_network
from search_spaces.sites import BlockSite
from search_spaces.spaces import MixedSpace, MobileSpace, ShuffleSpace, Space
from search_spaces.trials import Pick, Replay

torch.set_num_threads(1)

CLASSES = 10
FAMILIES: dict[str, Space] = {
    "mobile": MobileSpace.model_validate({"preset": "8px"}),
    "shuffle": ShuffleSpace.model_validate({"family": "shuffle", "preset": "8px"}),
    "mixed": MixedSpace.model_validate({"family": "mixed", "preset": "8px", "head_widths": (0, 32)}),
    "searched size": MixedSpace.model_validate({"family": "mixed", "preset": "8px", "input_size": (8, 12, 16)}),
}
FREE = Compression(pruning_ratio=(0.0, 0.5), weight_format=("int8",), stage_widths=True)
family = pytest.mark.parametrize("family", sorted(FAMILIES))
seeds = pytest.mark.parametrize("seed", range(6))


def drawn(name: str, seed: int, compression: Compression = FREE) -> Candidate:
    return sample(Pick(random.Random(seed).choice), FAMILIES[name], compression, input_channels=3)


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    return drawn(draw(st.sampled_from(sorted(FAMILIES))), draw(st.integers(0, 2**32)))


def network_of(candidate: Candidate, *, seed: int = 0) -> nn.Module:
    """Built with plausible batch norm statistics, not pruned."""
    network = build_network(candidate.architecture, CLASSES, seed=seed).eval()
    random_numbers = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=random_numbers)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=random_numbers)  # type: ignore[union-attr]
            module.weight.data.uniform_(0.5, 2, generator=random_numbers)
            module.bias.data.normal_(0, 0.5, generator=random_numbers)
    return network


def pixels(candidate: Candidate, count: int = 32) -> torch.Tensor:
    size = candidate.architecture.input_size
    drawn_pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1))
    return drawn_pixels.float() / 255


def layers_of(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@family
@seeds
def test_modules_are_the_layers_in_order_of_execution(family: str, seed: int) -> None:
    candidate = drawn(family, seed)
    network = network_of(candidate)
    ran: list[tuple[str, int, int]] = []

    def listen(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
            side = [t.shape[-1] if t.dim() == 4 else 1 for t in (given[0], out)]
            ran.append((name, side[0], side[1]))

        module.register_forward_hook(hook)

    for name, module in layers_of(network).items():
        listen(name, module)
    with torch.no_grad():
        logits = network(pixels(candidate, 2))
    assert logits.shape == (2, CLASSES)
    expected = candidate.architecture.layers(CLASSES)
    assert ran == [(layer.name, layer.input_size, layer.output_size) for layer in expected]


@family
@seeds
def test_pruned_modules_have_the_shapes_of_the_closed_form(family: str, seed: int) -> None:
    candidate = drawn(family, seed)
    network = network_of(candidate)
    prune(network, candidate.architecture.all_groups(), candidate.plan.kept, importance=weight_norm(2))
    modules = layers_of(network)
    for layer in candidate.layers(CLASSES):
        weight = modules.pop(layer.name).weight
        per_group = layer.in_channels // layer.groups
        kernel = (layer.kernel,) * (2 if weight.dim() == 4 else 0)
        assert weight.shape == (layer.out_channels, per_group, *kernel), layer.name
    assert not modules


@family
@seeds
def test_pruning_is_the_same_as_silencing_the_channels(family: str, seed: int) -> None:
    """Channels whose batch norms give zero everywhere may be cut without changing any output."""
    candidate = drawn(family, seed)
    network = network_of(candidate)
    groups = {group.name: group for group in candidate.architecture.all_groups()}
    for name, count in candidate.plan.kept.items():
        for path, axis in groups[name].members:
            module = network.get_submodule(path)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data[count:] = 0
                module.bias.data[count:] = 0
            elif axis == 0 and module.bias is not None:
                module.bias.data[count:] = 0
    x = pixels(candidate)
    with torch.no_grad():
        silenced = network(x)
        prune(network, list(groups.values()), candidate.plan.kept, importance=_first_channels)
        torch.testing.assert_close(network(x), silenced, rtol=1e-4, atol=1e-4)


def _first_channels(_: nn.Module, group: Any) -> torch.Tensor:
    return -torch.arange(group.width, dtype=torch.float32)


@family
@seeds
def test_every_layer_runs_as_integers_and_says_what_torch_says(family: str, seed: int, tmp_path: Path) -> None:
    candidate = drawn(family, seed)
    network = network_of(candidate)
    prune(network, candidate.architecture.all_groups(), candidate.plan.kept, importance=weight_norm(2))
    quantized = prepare(network, candidate.plan.formats).eval()
    x = pixels(candidate)
    with torch.no_grad():
        for _ in range(2):
            observe(quantized, True)
            quantized(x)
            observe(quantized, False)
            refresh_scales(quantized)
        reference = quantized(x).numpy()
    header = FileHeader(3, candidate.architecture.input_size, tuple(map(str, range(CLASSES))))
    model = emit(quantized, header)
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    target = Target(name="cpu")
    assert integer_layers(file, target) >= set(candidate.plan.formats)
    step = float(np.ptp(reference)) / 255
    assert np.abs(Runner(file, target).predict(x.numpy()) - reference).max() <= 4 * step
    costs = read_costs(model)
    assert (costs.parameters, costs.macs) == (candidate.parameters(CLASSES), candidate.macs(CLASSES))


@given(candidates())
def test_ids_survive_json(candidate: Candidate) -> None:
    again = Candidate.from_json(candidate.to_json())
    assert again == candidate
    assert (again.id, again.structure_id(CLASSES)) == (candidate.id, candidate.structure_id(CLASSES))


@settings(max_examples=50)
@given(candidates())
def test_groups_hold_every_axis_once_and_of_their_width(candidate: Candidate) -> None:
    architecture = candidate.architecture
    layers = {layer.name: layer for layer in architecture.layers(CLASSES)}
    members = [(member, group.width) for group in architecture.all_groups() for member in group.members]
    assert len({member for member, _ in members}) == len(members)
    for (name, axis), width in members:
        layer = layers[name.removesuffix("_bn")]
        assert (layer.out_channels, layer.in_channels)[axis] == width


# Widths that skips tie together.


def chain(*stages: tuple[int, int, list[BlockConfig]], stem: int = 8, head: int | None = 16) -> Architecture:
    return Architecture(
        input_size=8,
        input_channels=3,
        stem=StemConfig(width=stem),
        stages=tuple(StageConfig(width=w, stride=s, blocks=tuple(blocks)) for w, s, blocks in stages),  # type: ignore[arg-type]
        head=HeadConfig(width=head) if head else None,
    )


MOBILE = InvertedResidualConfig(kernel=3, expansion=2)
RESIDUAL = ResidualConfig(kind="residual", kernel=3)
SHUFFLE = ShuffleConfig(kind="shuffle", kernel=3)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        (chain((16, 2, [MOBILE])), ["stem.width", "stage1.width"]),
        (chain((8, 1, [MOBILE]), (16, 2, [RESIDUAL, RESIDUAL])), ["stem.width", "stage2.width"]),
        (chain((8, 1, [MOBILE]), (8, 1, [RESIDUAL]), (8, 2, [MOBILE])), ["stem.width", "stage3.width"]),
        (chain((8, 1, [SHUFFLE]), (16, 2, [MOBILE])), ["stage2.width"]),
        (chain((16, 2, [MOBILE]), (32, 2, [SHUFFLE])), ["stem.width", "stage1.width"]),
        (chain((16, 2, [MOBILE]), (16, 1, [SHUFFLE])), ["stem.width"]),
    ],
    ids=["free", "stem and stage", "three together", "split by a unit", "read by a unit", "split by the next unit"],
)
def test_widths_tied_by_skips_are_one_group(architecture: Architecture, expected: list[str]) -> None:
    assert [group.name for group in architecture.width_groups()] == expected


def test_a_tied_width_counts_once_in_every_layer() -> None:
    architecture = chain((8, 1, [MOBILE]), (16, 2, [RESIDUAL, RESIDUAL]), head=None)
    (stem, stage) = architecture.width_groups()
    assert stem.members == (
        ("stem.conv", 0), ("stem.conv_bn", 0), ("stage1.block1.expand", 1), ("stage1.block1.project", 0),
        ("stage1.block1.project_bn", 0), ("stage2.block1.conv1", 1), ("stage2.block1.shortcut", 1),
    )  # fmt: skip
    assert stage.members[-1] == ("classifier", 1)
    narrow = {layer.name: layer for layer in architecture.layers(CLASSES, {"stem.width": 4, "stage2.width": 12})}
    shapes = {name: (layer.in_channels, layer.out_channels) for name, layer in narrow.items()}
    assert shapes == {
        "stem.conv": (3, 4),
        "stage1.block1.expand": (4, 16),
        "stage1.block1.depthwise": (16, 16),
        "stage1.block1.project": (16, 4),
        "stage2.block1.conv1": (4, 16),
        "stage2.block1.conv2": (16, 12),
        "stage2.block1.shortcut": (4, 12),
        "stage2.block2.conv1": (12, 16),
        "stage2.block2.conv2": (16, 12),
        "classifier": (12, CLASSES),
    }


def test_kinds_of_blocks_are_different_structures() -> None:
    """A shuffle unit and an inverted residual may have layers of one shape."""
    ids = {
        Candidate(architecture=chain((16, 2, [block]))).structure_id(CLASSES) for block in (MOBILE, RESIDUAL, SHUFFLE)
    }
    assert len(ids) == 3


# Oracles.


def test_the_shuffle_unit_is_the_papers() -> None:
    """Split, work on one half, concatenate, shuffle: with view and transpose, as torchvision writes it."""
    from torchvision.models.shufflenetv2 import InvertedResidual as Reference
    from torchvision.models.shufflenetv2 import channel_shuffle

    from search_spaces.blocks import ShuffleUnit

    torch.manual_seed(0)
    ours = [ShuffleUnit(16, 16, inner=8, kernel=3, stride=1, activation="relu").eval() for _ in range(3)]
    theirs = [Reference(16, 16, 1).eval() for _ in range(3)]
    for unit, reference in zip(ours, theirs, strict=True):
        convs = [unit.expand, unit.expand_bn, unit.depthwise, unit.depthwise_bn, unit.project, unit.project_bn]
        sources = [m for m in reference.branch2 if not isinstance(m, nn.ReLU)]
        for own, source in zip(convs, sources, strict=True):
            own.load_state_dict(source.state_dict())
    x = torch.rand(2, 16, 4, 4)
    with torch.no_grad():
        own, reference_out = x, channel_shuffle(x, 2)  # theirs shuffles behind a unit, ours before
        for unit, block in zip(ours, theirs, strict=True):
            own, reference_out = unit(own), block(reference_out)
        torch.testing.assert_close(channel_shuffle(own, 2), reference_out)


def test_training_takes_the_same_halves() -> None:
    from search_spaces.blocks import ShuffleUnit

    unit = ShuffleUnit(12, 12, inner=8, kernel=3, stride=1, activation="relu")
    x = torch.rand(2, 12, 5, 4).contiguous(memory_format=torch.channels_last)
    traced, trained = unit.eval()._halves(x), unit.train()._halves(x)
    assert all(torch.equal(one, other) for one, other in zip(traced, trained, strict=True))


def test_the_residual_block_is_the_papers() -> None:
    from torchvision.models.resnet import BasicBlock

    from search_spaces.blocks import Residual

    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    theirs = BasicBlock(8, 16, 2, shortcut).eval()
    ours = Residual(8, 16, inner=16, kernel=3, stride=2, activation="relu").eval()
    names = {"conv1": "conv1", "conv1_bn": "bn1", "conv2": "conv2", "conv2_bn": "bn2"}
    for own, source in {**names, "shortcut": "downsample.0", "shortcut_bn": "downsample.1"}.items():
        ours.get_submodule(own).load_state_dict(theirs.get_submodule(source).state_dict())
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_the_fused_block_is_the_papers() -> None:
    from functools import partial

    from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig

    from search_spaces.blocks import FusedInvertedResidual

    torch.manual_seed(0)
    config = FusedMBConvConfig(2, 3, 1, 8, 8, 1)
    theirs = FusedMBConv(config, 0.0, partial(nn.BatchNorm2d, eps=1e-5)).eval()
    ours = FusedInvertedResidual(8, 8, inner=16, kernel=3, stride=1, activation="relu").eval()
    for module in theirs.modules():
        if isinstance(module, nn.SiLU):
            module.forward = nn.functional.relu  # type: ignore[method-assign]
    sources = {"expand": "0.0", "expand_bn": "0.1", "project": "1.0", "project_bn": "1.1"}
    for own, source in sources.items():
        ours.get_submodule(own).load_state_dict(theirs.block.get_submodule(source).state_dict())
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_a_unit_needs_an_even_width() -> None:
    from search_spaces.blocks import ShuffleUnit

    with pytest.raises(ValueError, match="even number, got 7"):
        ShuffleUnit(8, 7, inner=4, kernel=3, stride=1, activation="relu")


# Spaces.

SMALL = {
    "family": "mixed",
    "input_size": (8, 16),
    "stem_widths": (8,),
    "stages": ({"depths": (1, 2), "widths": (8, 16), "stride": 1},),
    "head_widths": (0, 16),
    "blocks": {
        "inverted_residual": {"kernels": (3,), "expansions": (1, 2)},
        "residual": {"kernels": (3,), "expansions": (1,)},
        "shuffle": {"kernels": (3,), "expansions": (1,)},
    },
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": {"residual": {"kernels": (3,), "expansions": (1,), "squeeze_excite": (True,)}}}, "only inverted"),
        ({"blocks": {"residual": {"kernels": (5, 3), "expansions": (1,)}}}, r"blocks.residual.kernels: expected asc"),
        ({"stages": ({"depths": (1,), "widths": (8,), "families": ("fused_inverted_residual",)},)},
         r"stages\[0\].families: expected some of"),
        ({"input_size": (16, 8)}, "input_size: expected ascending order"),
        ({"blocks": {}}, "at least 1 item"),
    ],
)  # fmt: skip
def test_impossible_mixed_spaces_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MixedSpace.model_validate({**SMALL, **fields})


def test_a_stage_may_narrow_kinds_and_expansions() -> None:
    stages = ({"depths": (2,), "widths": (8,), "families": ("inverted_residual",), "expansions": (2,)},)
    space = MixedSpace.model_validate({**SMALL, "stages": stages})
    for seed in range(8):
        blocks = space.sample(Pick(random.Random(seed).choice), input_channels=3).stages[0].blocks
        assert {(block.kind, block.expansion) for block in blocks} == {("inverted_residual", 2)}


def test_an_input_size_is_searched_where_there_are_several() -> None:
    genes = {"stem.width": 8, "stage1.family": "shuffle", "stage1.depth": 1, "stage1.width": 16, "head.width": 0}
    genes |= {f"stage1.block1.shuffle.{gene}": value for gene, value in
              (("kernel", 3), ("expansion", 1), ("activation", "relu"))}  # fmt: skip
    architecture = MixedSpace.model_validate(SMALL).sample(Replay({**genes, "input_size": 16}), input_channels=3)
    assert (architecture.input_size, architecture.head) == (16, None)
    assert architecture.stages[0].blocks == (SHUFFLE,)


@family
def test_a_gene_has_the_same_choices_whenever_it_is_asked(family: str) -> None:
    """Optuna refuses a name whose choices change, so each kind of block has genes of its own."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    compression = Compression(pruning_ratio=(0.0, 0.5), weight_format=("int4", "fp32"), granularity="layer")
    for _ in range(30):
        trial = study.ask()
        sample(trial, FAMILIES[family], compression, input_channels=3)
        study.tell(trial, 0.0)


@family
@pytest.mark.parametrize("granularity", ["block", "layer"])
def test_every_gene_that_can_be_asked_has_a_column(family: str, granularity: Any) -> None:
    space, seen = FAMILIES[family], set[str]()
    compression = Compression(
        pruning_ratio=(0.0, 0.5), weight_format=("int4", "fp32"), granularity=granularity, stage_widths=True
    )
    study = Study(name="x", data=Data(source="digits"), space=space, compression=compression)  # type: ignore[arg-type]
    for seed in range(300):
        trial = _Listening(random.Random(seed).choice)
        sample(trial, space, compression, input_channels=1)
        seen |= trial.asked
    assert seen <= set(all_genes(study))


class _Listening(Pick):
    def __init__(self, pick: Any) -> None:
        super().__init__(pick)
        self.asked: set[str] = set()

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.add(name)
        return super().suggest_categorical(name, choices)


def test_the_study_file_takes_every_family() -> None:
    for fields in ({"preset": "8px"}, {"family": "shuffle", "preset": "32px"}, SMALL):
        study = Study.model_validate({"name": "x", "data": {"source": "digits"}, "space": fields}, strict=True)
        assert Study.model_validate(study.model_dump()) == study
        assert study.space.family == fields.get("family", "mobile")


def test_of_one_kind_keeps_stages_that_have_no_choice() -> None:
    stages = (
        {"depths": (1,), "widths": (8,)},
        {"depths": (1,), "widths": (8,), "families": ("inverted_residual",)},
    )
    kinds = MixedSpace.model_validate({**SMALL, "stages": stages}).of_one_kind()
    named = [tuple(block.kind for stage in k.sample(Pick(min), input_channels=3).stages for block in stage.blocks)
             for k in kinds]  # fmt: skip
    assert named == [
        ("inverted_residual", "inverted_residual"),
        ("residual", "inverted_residual"),
        ("shuffle", "inverted_residual"),
    ]


def test_a_site_knows_its_place() -> None:
    site = BlockSite("stage2.block1", SHUFFLE, 8, 16, 2, 9)
    assert (site.stage, site.is_first, site.output_size, site.inner_width) == ("stage2", True, 5, 8)
    assert not site.keeps_shape
    assert [row.layer for row in site.rows()] == [
        "shortcut_depthwise", "shortcut_project", "expand", "depthwise", "project",
    ]  # fmt: skip
