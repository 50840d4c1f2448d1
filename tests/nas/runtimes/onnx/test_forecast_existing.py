"""Forecasts of files of networks that exist already, against files that are emitted."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from drafts import Draft, dense, drafts, needed, residual, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from known_networks import architecture_of
from torch import nn

from compressors.formats import WeightFormat
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.runtime import FileHeader
from search_spaces.building import build_any
from search_spaces.existing.architecture import PixelNorm
from search_spaces.existing.blueprint import INPUT, Blueprint

torch.set_num_threads(1)

HEADER = FileHeader(3, 8, tuple("abcde"))
BY_CHANNEL = PixelNorm(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
DEVIATIONS = 5  # in standard deviations: equal zero points are a matter of chance


def gated() -> Blueprint:
    """Squeeze and excitation, pooling of both kinds, and activations that no space of blocks has."""
    draft = Draft()
    x = draft.add("silu", draft.norm("norm", draft.conv("begin", INPUT, 8)))
    x = draft.add("max_pool", x, shape=(8, 4), kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1],
                  ceil_mode=False)  # fmt: skip
    gates = draft.add("relu", draft.conv("squeeze", draft.pooled(x), 4, kernel=1, bias=True))
    gates = draft.add("sigmoid", draft.conv("excite", gates, 8, kernel=1, bias=True))
    x = draft.add("multiply", gates, x, shape=(8, 4))
    x = draft.add("tanh", draft.conv("body", x, 8, split=2, bias=True))
    x = draft.add("leaky_relu", draft.conv("more", x, 6, bias=True), negative_slope=0.1)
    x = draft.add("average_pool", x, shape=(6, 2), kernel_size=[3, 3], stride=[2, 2], padding=[0, 0], ceil_mode=True,
                  count_include_pad=True)  # fmt: skip
    return draft.done(draft.add("elu", x, alpha=1.0))


def repeated() -> Blueprint:
    """A map of one pixel that is repeated before it is flattened, as VGG's is of small images."""
    draft = Draft()
    x = draft.pooled(draft.unit("begin", INPUT, 8))
    x = draft.add("adaptive_average", x, shape=(8, 3), output_size=[3, 3])
    hidden = draft.add("relu", draft.linear("hidden", draft.flatten(x), 12))
    return draft.done(hidden, head="out")


def normed() -> Blueprint:
    """Batch norm behind a linear layer, of which nothing is left."""
    draft = Draft()
    x = draft.linear("hidden", draft.flatten(draft.unit("begin", INPUT, 8)), 12, bias=False)
    return draft.done(draft.add("relu", draft.norm1d("hidden_norm", x)), head="out")


def perceptron() -> Blueprint:
    """Pixels are flattened before any layer reads them: as codes, where they lie on one grid."""
    draft = Draft()
    return draft.done(draft.add("relu", draft.linear("hidden", draft.flatten(INPUT), 12)), head="out")


def pooled() -> Blueprint:
    """ReLU and pooling between layers, as VGG has them."""
    draft = Draft()
    x = draft.add("relu", draft.conv("a", INPUT, 8, bias=True))
    for name, side in (("b", 4), ("c", 2)):
        x = draft.add("relu", draft.conv(name, x, 8, bias=True))
        x = draft.add("max_pool", x, shape=(8, side), kernel_size=[2, 2], stride=[2, 2], padding=[0, 0],
                      dilation=[1, 1], ceil_mode=False)  # fmt: skip
    return draft.done(x)


NETWORKS: dict[str, Callable[[], Blueprint]] = {
    "residual": residual, "dense": dense, "shuffled": shuffled, "gated": gated, "repeated": repeated,
    "normed": normed, "perceptron": perceptron, "pooled": pooled,
}  # fmt: skip
FORMATS: tuple[tuple[WeightFormat, ...], ...] = (("fp32",), ("int8",), ("int4", "int2"), ("fp32", "int8", "int3"))


def candidate_of(blueprint: Blueprint, formats: tuple[WeightFormat, ...], seed: int, *, cut: bool) -> Candidate:
    choose = random.Random(seed)
    architecture = architecture_of(blueprint, pixels=BY_CHANNEL if seed % 2 else None)
    drawn = {layer.name: choose.choice(formats) for layer in architecture.layers(1)}
    kept = {group.name: max(1, group.width // 2) for group in architecture.all_groups()} if cut else {}
    return Candidate.from_json(
        Candidate(architecture=architecture, plan=CompressionPlan(kept=kept, formats=drawn)).to_json()
    )


def file_of(candidate: Candidate, header: FileHeader = HEADER) -> tuple[int, int]:
    """Size and peak memory of the emitted file, of a network with random statistics."""
    torch.manual_seed(0)
    network = build_any(candidate.architecture, len(HEADER.class_names), seed=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    images = [torch.rand(16, header.channels, 8, 8)]
    model = emit(compress(network.eval(), candidate.plan, Options(groups=candidate.groups()), images), header)
    return len(model.SerializeToString()), read_costs(model).peak_memory_bytes


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("name", NETWORKS)
def test_size_and_peak_memory_are_those_of_the_file(name: str, cut: bool) -> None:
    for seed, formats in enumerate(FORMATS):
        candidate = candidate_of(NETWORKS[name](), formats, seed, cut=cut)
        size, peak = file_of(candidate)
        found = forecast(candidate, HEADER)
        assert found is not None
        assert found.peak_memory_bytes == peak
        if candidate.plan.formats:
            assert abs(found.size_bytes - size) < max(DEVIATIONS * found.size_sd, 0.003 * size)
        else:
            assert found.size_bytes == size


@pytest.mark.parametrize(
    ("blueprint", "formats"),
    [
        (perceptron, {"hidden": "int8", "out": "int8"}),
        (perceptron, {"hidden": "int2", "out": "int4"}),
        (pooled, {"a": "int8", "c": "int8", "fc": "int8"}),
    ],
)
def test_without_chance_it_is_exact(blueprint: Callable[[], Blueprint], formats: dict[str, WeightFormat]) -> None:
    """No grid is of either sign but that of the pixels, which is the only one: nothing is equal by chance.

    Between codes a layer stays one of floats by a node of its own, behind which ReLU and pooling may stand.
    """
    candidate = Candidate(architecture=architecture_of(blueprint()), plan=CompressionPlan(formats=formats))
    found = forecast(candidate, HEADER)
    assert found is not None
    assert (round(found.size_bytes), found.peak_memory_bytes) == file_of(candidate)


@given(drafted=drafts(), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_random_networks(drafted: Blueprint, seed: int) -> None:
    """Their peak memory, and in floats their size too, where they are foretold at all."""
    blueprint, choose = needed(drafted), random.Random(seed)
    architecture = architecture_of(blueprint, input_channels=1 if blueprint.input_channels == 1 else 3)
    formats = choose.choice(FORMATS)
    drawn = {layer.name: choose.choice(formats) for layer in architecture.layers(1) if not layer.runs_again}
    kept = {group.name: choose.randint(1, group.width) for group in architecture.all_groups()}
    plan = CompressionPlan(kept=kept, formats=drawn)
    candidate = Candidate.from_json(Candidate(architecture=architecture, plan=plan).to_json())
    header = FileHeader(blueprint.input_channels, 8, HEADER.class_names)
    if (found := forecast(candidate, header)) is not None:
        size, peak = file_of(candidate, header)
        assert found.peak_memory_bytes == peak
        assert found.size_bytes == size or candidate.plan.formats


@pytest.mark.parametrize("channels", [[0, 1, 2], [1, 2]])
def test_channels_of_which_it_is_not_told_how_many_are_left_are_not_foretold(channels: list[int]) -> None:
    draft = Draft()
    x = draft.add("relu", draft.select(draft.unit("begin", INPUT, 8), channels))
    assert forecast(Candidate(architecture=architecture_of(draft.done(x))), HEADER) is None


def test_windows_that_overlap_are_not_foretold() -> None:
    draft = Draft()
    x = draft.add("adaptive_average", draft.unit("begin", INPUT, 8), shape=(8, 3), output_size=[3, 3])
    blueprint = draft.done(draft.add("relu", draft.linear("hidden", draft.flatten(x), 12)), head="out")
    assert forecast(Candidate(architecture=architecture_of(blueprint)), HEADER) is None
