"""The contract of every kind of block: names, shapes, pruning, integer kernels and parity, ids, genes, counting.

Each row of `search_spaces.kinds.KINDS` is tested, and a toy kind that only this file knows: no code of the package
names it. The families of spaces, which hold one kind or several, are tested beside them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from compressors.pruning import prune, weight_norm
from compressors.quantization import observe, prepare, refresh_scales
from nas.candidates.candidate import Candidate
from nas.candidates.counting import space_size
from nas.candidates.genes import all_genes
from nas.candidates.sampling import sample
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.runtimes.onnxruntime import Runner, integer_layers
from nas.study import Compression, Data, Study, Target
from nas.study.file import dump_study, load_study
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import Activation, Positive, Record
from search_spaces.block_spaces import BlockSpace
from search_spaces.blocks import ACTIVATIONS
from search_spaces.kinds import KINDS, BlockKind, LayerRow
from search_spaces.network import build_block, build_network
from search_spaces.sites import BlockSite
from search_spaces.spaces import AnySpace, MixedSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

CLASSES = 10
FREE = Compression(pruning_ratio=(0.0, 0.5), weight_format=("int8",), stage_widths=True)


class SeparableConfig(Record):
    """A toy kind: depthwise, pointwise to the inner width, squeeze-excite, pointwise; never a skip."""

    kind: Literal["separable"]
    kernel: Literal[3, 5, 7]
    expansion: Positive
    squeeze_excite: bool = False
    activation: Activation = "relu"


def separable_rows(config: SeparableConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("spatial", "depthwise", "in", "in", config.kernel, "strided")
    yield LayerRow("widen", "pointwise", "in", "inner", at="output")
    if config.squeeze_excite:
        yield LayerRow("gate", "pointwise", "inner", "inner", at="pooled")
    yield LayerRow("project", "pointwise", "inner", "out", at="output")


class Separable(nn.Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        inner: int,
        kernel: int,
        stride: int,
        activation: Activation,
        is_gated: bool,
    ) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(in_channels, in_channels, kernel, stride, kernel // 2, groups=in_channels, bias=False)
        self.spatial_bn = nn.BatchNorm2d(in_channels)
        self.widen = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.widen_bn = nn.BatchNorm2d(inner)
        self.activation = ACTIVATIONS[activation]()
        self.is_gated = is_gated
        if is_gated:
            self.pool, self.gate, self.sigmoid = nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, inner, 1), nn.Hardsigmoid()
        self.project = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.widen_bn(self.widen(self.spatial_bn(self.spatial(x)))))
        if self.is_gated:
            x = x * self.sigmoid(self.gate(self.pool(x)))
        out: Tensor = self.project_bn(self.project(x))
        return out


SEPARABLE = BlockKind(
    config=SeparableConfig,
    rows=separable_rows,
    module=Separable,
    widens="out",
    adds_input=False,
    choices=("squeeze_excite",),
    arguments=lambda config, inner: {"is_gated": config.squeeze_excite},
    defaults={"kernels": (3,), "expansions": (1, 2)},
)


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "separable", SEPARABLE)
        yield


NAMES = [*KINDS, "separable"]
OTHERS: dict[str, dict[str, Any]] = {
    "family mobile": {"family": "mobile"},
    "family shuffle": {"family": "shuffle"},
    "family mixed": {"head_widths": (0, 32)},
    "searched size": {"input_size": (8, 12, 16)},
}
FLAGS = (False, True)
READER: TypeAdapter[AnySpace] = TypeAdapter(AnySpace)


def freedom_of(kind: str) -> dict[str, Any]:
    """Two of every list of choices that a kind has."""
    own: dict[str, Any] = dict.fromkeys(KINDS[kind].choices, FLAGS)
    own |= {"expansions": (1, 2)} if KINDS[kind].widens else {}
    return {"kernels": (3, 5), "activations": ("relu", "hardswish"), **own}


@cache
def space_of(name: str) -> AnySpace:
    """A space of one kind of block, or one of the others."""
    own = {"blocks": {name: freedom_of(name)}} if name in NAMES else OTHERS[name]
    return READER.validate_python({"family": "mixed", "preset": "8px", **own})


kind = pytest.mark.parametrize("kind", NAMES)
space = pytest.mark.parametrize("space", [*NAMES, *OTHERS])
seeds = pytest.mark.parametrize("seed", range(4))


def drawn(name: str, seed: int, compression: Compression = FREE) -> Candidate:
    return sample(Pick(random.Random(seed).choice), space_of(name), compression, input_channels=3)


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    return drawn(draw(st.sampled_from([*NAMES, *OTHERS])), draw(st.integers(0, 2**32)))


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


def pixels(candidate: Candidate, count: int = 32) -> Tensor:
    size = candidate.architecture.input_size
    drawn_pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1))
    return drawn_pixels.float() / 255


def layers_of(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


# What a row says of its kind.


def configs_of(kind: str) -> list[Any]:
    return BlockSpace.model_validate(freedom_of(kind)).configs(kind)


@kind
def test_the_record_holds_the_kind_and_its_choices(kind: str) -> None:
    fields = KINDS[kind].config.model_fields
    assert set(fields) == {"kind", *KINDS[kind].fields}
    assert (
        ("expansion" in fields)
        == (KINDS[kind].widens is not None)
        == any(row.writes == "inner" for config in configs_of(kind) for row in KINDS[kind].rows(config, True))
    )
    configs = configs_of(kind)
    assert {config.kind for config in configs} == {kind}
    assert len(configs) == len(set(configs)) == 2 ** len(KINDS[kind].fields)


@kind
@pytest.mark.parametrize(("stride", "out_width"), [(1, 16), (1, 24), (2, 16)])
def test_rows_write_both_ends_and_split_only_where_the_kind_says_so(kind: str, stride: int, out_width: int) -> None:
    for config in configs_of(kind):
        site = BlockSite("stage1.block1", config, 16, out_width, stride, 8)
        rows = site.rows()
        assert len({row.layer for row in rows}) == len(rows)
        halves = [row for row in rows if "half" in (row.reads, row.writes)]
        assert bool(halves) == KINDS[kind].splits
        assert ({row.reads for row in rows} & {"in", "half"}) and rows[-1].writes in ("out", "half")  # noqa: PT018
        assert not (site.has_skip and KINDS[kind].splits)


@kind
def test_a_skip_is_where_the_row_says(kind: str) -> None:
    """With convolutions that give zero, a block with a skip passes its input on."""
    x = torch.rand(2, 16, 8, 8)
    for config in (config for config in configs_of(kind) if config.activation == "relu"):
        site = BlockSite("stage1.block1", config, 16, 16, 1, 8)
        block = build_block(site).eval()
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data.zero_()
        with torch.no_grad():
            assert torch.allclose(block(x), x) == site.has_skip


# The whole way from a draw to a file.


@space
@seeds
def test_modules_are_the_layers_in_order_of_execution(space: str, seed: int) -> None:
    candidate = drawn(space, seed)
    network = network_of(candidate)
    ran: list[tuple[str, int, int]] = []

    def listen(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
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


@space
@seeds
def test_pruned_modules_have_the_shapes_of_the_closed_form(space: str, seed: int) -> None:
    candidate = drawn(space, seed)
    network = network_of(candidate)
    prune(network, candidate.architecture.all_groups(), candidate.plan.kept, importance=weight_norm(2))
    modules = layers_of(network)
    for layer in candidate.layers(CLASSES):
        weight = modules.pop(layer.name).weight
        per_group = layer.in_channels // layer.groups
        kernel = (layer.kernel,) * (2 if weight.dim() == 4 else 0)
        assert weight.shape == (layer.out_channels, per_group, *kernel), layer.name
    assert not modules


@space
@seeds
def test_pruning_is_the_same_as_silencing_the_channels(space: str, seed: int) -> None:
    """Channels whose batch norms give zero everywhere may be cut without changing any output."""
    candidate = drawn(space, seed)
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


def _first_channels(_: nn.Module, group: Any) -> Tensor:
    return -torch.arange(group.width, dtype=torch.float32)


@space
@seeds
def test_every_layer_runs_as_integers_and_says_what_torch_says(space: str, seed: int, tmp_path: Path) -> None:
    candidate = drawn(space, seed)
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
        expected = quantized(x).numpy()
    header = FileHeader(3, candidate.architecture.input_size, tuple(map(str, range(CLASSES))))
    model = emit(quantized, header)
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    target = Target(name="cpu")
    assert integer_layers(file, target) >= set(candidate.plan.formats)
    apart = np.abs(Runner(file, target).predict(x.numpy()) - expected) / (float(np.ptp(expected)) / 255)
    assert apart.mean() <= 0.25, "most logits are equal ..."
    assert apart.max() <= 8, "... where a code is rounded the other way a few are some steps apart"
    costs = read_costs(model)
    assert (costs.parameters, costs.macs) == (candidate.parameters(CLASSES), candidate.macs(CLASSES))


# Records, groups and ids.


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


def test_every_record_of_every_kind_is_another_structure() -> None:
    """Costs are cached by structure: blocks of two kinds may have layers of one shape and yet cost differently."""
    configs = [config for kind in NAMES for config in configs_of(kind)]
    assert len({structure_of(config) for config in configs}) == len(configs)


def structure_of(config: Any) -> str:
    stage = StageConfig(width=16, stride=2, blocks=(config,))
    architecture = Architecture(
        input_size=8, input_channels=3, stem=StemConfig(width=8), stages=(stage,), head=HeadConfig(width=16)
    )
    return Candidate(architecture=architecture).structure_id(CLASSES)


# Genes.


@space
def test_a_gene_has_the_same_choices_whenever_it_is_asked(space: str) -> None:
    """Optuna refuses a name whose choices change, so each kind of block has genes of its own."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    compression = Compression(pruning_ratio=(0.0, 0.5), weight_format=("int4", "fp32"), granularity="layer")
    for _ in range(30):
        trial = study.ask()
        sample(trial, space_of(space), compression, input_channels=3)
        study.tell(trial, 0.0)


@space
@pytest.mark.parametrize("granularity", ["block", "layer"])
def test_every_gene_that_can_be_asked_has_a_column(space: str, granularity: Any) -> None:
    seen = set[str]()
    compression = Compression(
        pruning_ratio=(0.0, 0.5), weight_format=("int4", "fp32"), granularity=granularity, stage_widths=True
    )
    study = Study(name="x", data=Data(source="digits"), space=space_of(space), compression=compression)
    for seed in range(150):
        trial = _Listening(random.Random(seed).choice)
        sample(trial, study.space, compression, input_channels=1)
        seen |= trial.asked
    assert seen <= set(all_genes(study))


class _Listening(Pick):
    def __init__(self, pick: Any) -> None:
        super().__init__(pick)
        self.asked: set[str] = set()

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.add(name)
        return super().suggest_categorical(name, choices)


@kind
def test_the_space_is_counted_with_the_layers_that_the_blocks_have(kind: str) -> None:
    """One block: every record times a format for each of its layers and a ratio where it has an inner width."""
    shape = {"family": "mixed", "input_size": 8, "stem_widths": (8,), "head_widths": (0,)}
    stage = {"depths": (1,), "widths": (8,), "stride": 1}
    own = MixedSpace.model_validate({**shape, "stages": (stage,), "blocks": {kind: freedom_of(kind)}})
    compression = Compression(
        pruning_ratio=(0.0, 0.25, 0.5), weight_format=("fp32", "int8"), granularity="layer", edges_below_int8=True
    )
    sites = [BlockSite("stage1.block1", config, 8, 8, 1, 8) for config in configs_of(kind)]
    expected = sum(2 ** (2 + len(site.layers())) * (3 if site.has_group else 1) for site in sites)
    assert space_size(own, compression) == expected


# Studies.


@kind
def test_a_study_may_name_the_kind(kind: str) -> None:
    stages = ({"depths": (1,), "widths": (8,), "families": (kind,)},)
    fields = {"family": "mixed", "preset": "8px", "stages": stages, "blocks": {kind: freedom_of(kind)}}
    study = Study.model_validate({"name": "x", "data": {"source": "digits"}, "space": fields}, strict=True)
    assert Study.model_validate(study.model_dump()) == study
    candidate = sample(Pick(max), study.space, study.compression, input_channels=3)
    assert candidate.architecture.stages[0].blocks[0].kind == kind


@kind
def test_a_study_file_may_list_the_kinds_choices(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    expansions = (1, 2) if KINDS[kind].widens else (1,)
    blocks = f"{{{kind}: {{kernels: [3], expansions: {list(expansions)}}}}}"
    head = "name: x\ndata: {source: digits}\nspace:\n  family: mixed\n  preset: 8px\n"
    file.write_text(f"{head}  blocks: {blocks}\n")
    study = load_study(file)
    assert study.space.block_spaces() == {kind: BlockSpace(kernels=(3,), expansions=expansions)}
    file.write_text(dump_study(study))
    assert load_study(file) == study


@pytest.mark.parametrize("family", ["mobile", "shuffle", "mixed"])
def test_a_study_takes_every_family(family: str) -> None:
    fields = {"name": "x", "data": {"source": "digits"}, "space": {"family": family, "preset": "32px"}}
    study = Study.model_validate(fields, strict=True)
    assert Study.model_validate(study.model_dump()) == study
    assert study.space.family == family


def test_the_toy_is_one_of_the_kinds_of_a_mixed_space() -> None:
    by_default = [name for name, row in KINDS.items() if row.defaults is not None]
    assert by_default == [name for name in NAMES if name != "plain"]
    assert list(space_of("family mixed").block_spaces()) == by_default
    found = {block.kind for seed in range(40) for stage in drawn("family mixed", seed).architecture.stages
             for block in stage.blocks}  # fmt: skip
    assert found == set(by_default)
