"""The contract of a kind of block on its whole way: `class TestMine(BlockContract): kind = Mine`, collected by pytest.

Beside what `search_spaces.testing` holds: pruning, integer kernels and parity with the file, the flow against a trace,
ids, genes, counting, and studies that name the kind.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.pruning import prune, weight_norm
from compressors.quantization import observe, prepare, refresh_scales
from nas.candidates.candidate import Candidate
from nas.candidates.counting import space_size
from nas.candidates.genes import all_genes
from nas.candidates.sampling import sample
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnxruntime import Runner, integer_layers
from nas.runtimes.runtime import FileHeader
from nas.study import Compression, Data, Study, Target
from nas.study.file import dump_study, load_study
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.blocks import Normalize, SelectChannels
from search_spaces.flows import INPUT, Flow, has_flow, writer_of
from search_spaces.network import build_block, build_network
from search_spaces.sites import BlockSite
from search_spaces.spaces import AnySpace, MixedSpace
from search_spaces.testing import CLASSES, SEEDS, freedom_of, pixels, realistic, shapes_of, space_of_kind
from search_spaces.testing import BlockContract as LayersContract
from search_spaces.trials import Pick

FREE = Compression(pruning_ratio=(0.0, 0.5), weight_format=("int8",), stage_widths=True)
GRANULARITIES: tuple[Literal["block", "layer"], ...] = ("block", "layer")
MODULES: dict[type, str] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid",
    nn.Sigmoid: "sigmoid", nn.SiLU: "silu", nn.Tanh: "tanh", nn.GELU: "gelu", nn.ELU: "elu",
    nn.LeakyReLU: "leaky_relu", nn.MaxPool2d: "max_pool", nn.AvgPool2d: "average_pool",
    nn.AdaptiveAvgPool2d: "average", Normalize: "normalize", SelectChannels: "select",
}  # fmt: skip
FUNCTIONS: dict[Any, str] = {
    operator.add: "add", operator.mul: "multiply", torch.cat: "concatenate", torch.flatten: "flatten",
}  # fmt: skip


def drawn(space: AnySpace, seed: int, compression: Compression = FREE) -> Candidate:
    """A candidate at random."""
    return sample(Pick(random.Random(seed).choice), space, compression, input_channels=3)


def pruned(candidate: Candidate) -> nn.Module:
    """Its network, with plausible batch norm statistics and its channels cut."""
    network = realistic(build_network(_architecture(candidate), CLASSES, seed=0))
    prune(network, candidate.architecture.all_groups(), candidate.plan.kept, importance=weight_norm(2))
    return network


def _architecture(candidate: Candidate) -> Architecture:
    assert isinstance(candidate.architecture, Architecture), "a network of blocks"
    return candidate.architecture


def check_pruned_shapes(candidate: Candidate) -> None:
    """Pruned modules have the shapes that the candidate's closed form says."""
    expected = {
        layer.name: (layer.out_channels, layer.in_channels // layer.groups)
        + ((layer.kernel,) * 2 if layer.kind != "linear" else ())
        for layer in candidate.layers(CLASSES)
    }
    assert shapes_of(pruned(candidate)) == expected


def check_integer_file(
    candidate: Candidate, file: Path, network: nn.Module | None = None, *, most_apart: float = 0.25
) -> None:
    """Every layer of the file at `file`, which is written, runs as integers, and says what torch says.

    `network` is that of the candidate where it is not made of blocks. `most_apart`: of an 8-bit code, on average.
    """
    quantized = prepare(pruned(candidate) if network is None else network, candidate.plan.formats).eval()
    size, channels = candidate.architecture.input_size, candidate.architecture.input_channels
    x = pixels(size, channels, count=32)
    with torch.no_grad():
        for _ in range(2):
            observe(quantized, True)
            quantized(x)
            observe(quantized, False)
            refresh_scales(quantized)
        expected = quantized(x).numpy()
    model = emit(quantized, FileHeader(channels, size, tuple(map(str, range(CLASSES)))))
    file.write_bytes(model.SerializeToString())
    target = Target(name="cpu")
    floats = set(candidate.plan.formats) - integer_layers(file, target)
    assert not floats, f"run as floats: {', '.join(sorted(floats))}"
    apart = np.abs(Runner(file, target).predict(x.numpy()) - expected) / (float(np.ptp(expected)) / 255)
    assert apart.mean() <= most_apart, f"most logits are equal ... {apart.mean()}"
    assert apart.max() <= 8, "... where a code is rounded the other way a few are some steps apart"
    costs = read_costs(model)
    assert (costs.parameters, costs.macs) == (candidate.parameters(CLASSES), candidate.macs(CLASSES))


def check_ids(candidate: Candidate) -> None:
    """A candidate and its ids survive JSON."""
    again = Candidate.from_json(candidate.to_json())
    assert again == candidate
    assert (again.id, again.structure_id(CLASSES)) == (candidate.id, candidate.structure_id(CLASSES))


def check_genes(space: AnySpace) -> None:
    """A gene has the same choices whenever it is asked, which Optuna wants, and a column."""
    for granularity in GRANULARITIES:
        compression = Compression(
            pruning_ratio=(0.0, 0.5), weight_format=("int4", "fp32"), granularity=granularity, stage_widths=True
        )
        study = Study(name="x", data=Data(source="digits"), space=space, compression=compression)
        asked: dict[str, list[Any]] = {}
        for seed in range(100):
            trial = _Listening(random.Random(seed).choice)
            sample(trial, study.space, compression, input_channels=1)
            for name, choices in trial.asked.items():
                assert asked.setdefault(name, choices) == choices, f"{name}: {asked[name]}, then {choices}"
        assert not (without := asked.keys() - set(all_genes(study))), f"without a column: {sorted(without)}"


class _Listening(Pick):
    def __init__(self, pick: Any) -> None:
        super().__init__(pick)
        self.asked: dict[str, list[Any]] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked[name] = list(choices)
        return super().suggest_categorical(name, choices)


def traced(module: nn.Module) -> list[tuple[str, tuple[int, ...], str]]:
    """The operations of a folded trace, in the form of a flow."""
    graph = fold_batch_norm(module)
    numbers: dict[fx.Node, int] = {}
    found: list[tuple[str, tuple[int, ...], str]] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            numbers[node] = INPUT
        elif node.op != "output":
            target, reads = str(node.target), node.all_input_nodes
            if node.op == "call_function":
                op, layer = FUNCTIONS.get(node.target, ""), ""
            else:
                kind = type(graph.get_submodule(target))
                op = "layer" if kind in (nn.Conv2d, nn.Linear) else MODULES.get(kind, "")
                layer = target if op == "layer" else ""
            assert op, (
                f"{target}: no operation of a flow, expected one of {sorted({*MODULES.values(), *FUNCTIONS.values()})}"
            )
            numbers[node] = len(found)
            found.append((op, tuple(numbers[read] for read in reads), layer))
    return found


def structure_of(config: Any) -> str:
    """What costs are cached by, of a network of one block."""
    stage = StageConfig(width=16, stride=2, blocks=(config,))
    architecture = Architecture(
        input_size=8, input_channels=3, stem=StemConfig(width=8), stages=(stage,), head=HeadConfig(width=16)
    )
    return Candidate(architecture=architecture).structure_id(CLASSES)


class BlockContract(LayersContract):
    """What every kind of block keeps to, from its record to the file that is shipped."""

    def candidates(self) -> Iterator[Candidate]:
        """Networks of such blocks with plans, drawn at random."""
        for seed in SEEDS:
            yield drawn(space_of_kind(self.name), seed)

    def test_pruned_modules_have_the_shapes_of_the_closed_form(self) -> None:
        for candidate in self.candidates():
            check_pruned_shapes(candidate)

    def test_every_layer_runs_as_integers_and_says_what_torch_says(self, tmp_path: Path) -> None:
        for number, candidate in enumerate(self.candidates()):
            check_integer_file(candidate, tmp_path / f"{number}.onnx")

    def test_the_flow_is_what_a_trace_finds(self) -> None:
        """Where it has one."""
        if not has_flow(self.name):
            return
        for site in self.sites():
            writer_of(self.name)(flow := Flow(), site.config, site.keeps_shape)
            assert [operation[:3] for operation in flow] == traced(build_block(site)), site

    def test_ids_survive_json(self) -> None:
        for candidate in self.candidates():
            check_ids(candidate)

    def test_every_record_is_another_structure(self) -> None:
        """Costs are cached by structure."""
        configs = self.configs()
        assert len(set(map(structure_of, configs))) == len(configs)

    def test_genes_have_the_same_choices_whenever_they_are_asked_and_columns(self) -> None:
        check_genes(space_of_kind(self.name))

    def test_the_space_is_counted_with_the_layers_that_the_blocks_have(self) -> None:
        """One block: every record times a format for each of its layers and a ratio where it has an inner width."""
        own = _one_block(self.name)
        compression = Compression(
            pruning_ratio=(0.0, 0.25, 0.5), weight_format=("fp32", "int8"), granularity="layer", edges_below_int8=True
        )
        sites = [BlockSite("stage1.block1", config, 8, 8, 1, 8) for config in self.configs()]
        expected = sum(2 ** (2 + len(site.layers())) * (3 if site.has_group else 1) for site in sites)
        assert space_size(own, compression) == expected

    def test_a_study_may_name_the_kind(self) -> None:
        stages = ({"depths": (1,), "widths": (8,), "families": (self.name,)},)
        space = space_of_kind(self.name).model_dump() | {"preset": "8px", "stages": stages}
        study = Study.model_validate({"name": "x", "data": {"source": "digits"}, "space": space}, strict=True)
        assert Study.model_validate(study.model_dump()) == study
        candidate = sample(Pick(max), study.space, study.compression, input_channels=3)
        assert _architecture(candidate).stages[0].blocks[0].kind == self.name

    def test_a_study_file_may_list_the_kinds_choices(self, tmp_path: Path) -> None:
        file, row = tmp_path / "study.yaml", self.row
        expansions = (1, 2) if row.widens else (1,)
        trusted = str(space_of_kind(self.name).trusted).lower()
        blocks = f"{{{self.name}: {{kernels: [3], expansions: {list(expansions)}}}}}"
        head = f"name: x\ndata: {{source: digits}}\nspace:\n  family: mixed\n  preset: 8px\n  trusted: {trusted}\n"
        file.write_text(f"{head}  blocks: {blocks}\n")
        study = load_study(file)
        (freedom,) = study.space.block_spaces().values()
        assert (freedom.kernels, freedom.expansions) == ((3,), expansions)
        file.write_text(dump_study(study))
        assert load_study(file) == study


def _one_block(kind: str) -> MixedSpace:
    """A space of networks of one block."""
    shape = {"input_size": 8, "stem_widths": (8,), "head_widths": (0,)}
    stages = ({"depths": (1,), "widths": (8,), "stride": 1},)
    own = {"stages": stages, "blocks": {kind: freedom_of(kind)}, "trusted": space_of_kind(kind).trusted}
    return MixedSpace.model_validate({"family": "mixed", **shape, **own})
