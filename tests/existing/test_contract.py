"""What every existing network keeps to, from a torch module to what is left of it after pruning.

The oracle is the module itself: its outputs, the layers it executes, and what it computes with channels silenced.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import torch
from existing_networks import CLASSES, NAMES, Existing, Fixed, existing, silence
from torch import Tensor, nn

from compressors.pruning import prune
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.study import Compression
from search_spaces.layers import ChannelGroup, LayerSpec
from search_spaces.testing import executed, layers_of
from search_spaces.trials import Pick

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> Existing:
    return existing(request.param)


def closed_form(layer: LayerSpec) -> tuple[int, ...]:
    shape = (layer.out_channels, layer.in_channels // layer.groups)
    return shape if layer.kind == "linear" else (*shape, *layer.kernels)


def norms_of_their_own(net: Existing) -> dict[str, int]:
    """Channels of the batch norms that follow no convolution: they stay, as depthwise layers of one pixel."""
    reads = {node.name: node.reads[0] for node in net.read.blueprint.nodes if node.op == "norm"}
    used = [source for node in net.read.blueprint.nodes for source in node.reads]
    convs = {node.name for node in net.read.blueprint.nodes if node.op == "conv"}
    alone = [name for name, source in reads.items() if source not in convs or used.count(source) > 1]
    return {name: net.module.get_submodule(name).num_features for name in alone}  # type: ignore[misc]


def test_what_is_built_from_the_blueprint_says_the_same(net: Existing) -> None:
    with torch.no_grad():
        torch.testing.assert_close(net.built()(net.images()), net.module(net.images()), rtol=1e-5, atol=1e-5)


def test_its_layers_are_those_that_torch_executes(net: Existing) -> None:
    ran = executed(net.module, net.images(1))
    layers = {layer.name: layer for layer in net.architecture.layers(CLASSES)}
    alone = norms_of_their_own(net)
    assert [name for name in layers if name not in alone] == list(dict.fromkeys(name for name, *_ in ran))
    assert layers.keys() == {*layers_of(net.module), *alone}
    for name, module in layers_of(net.module).items():
        assert closed_form(layers[name]) == tuple(module.weight.shape), name
    for name, before, after, macs in ran:
        assert (layers[name].input_size, layers[name].output_size, layers[name].macs) == (before, after, macs), name


def test_parameters_and_macs_are_torch_s_own(net: Existing) -> None:
    """Batch norms are folded: what they leave is a bias of each convolution, or a layer of one weight per channel."""
    layers, alone = layers_of(net.module).values(), norms_of_their_own(net)
    weights = sum(layer.weight.numel() + layer.weight.shape[0] for layer in layers)
    assert Candidate(architecture=net.architecture).parameters(CLASSES) == weights + 2 * sum(alone.values())
    pixels: list[int] = []
    hooks = [
        net.module.get_submodule(name).register_forward_hook(lambda *told: pixels.append(told[2].numel()))
        for name in alone
    ]
    macs = sum(count for *_, count in executed(net.module, net.images(1)))
    for hook in hooks:
        hook.remove()
    assert Candidate(architecture=net.architecture).macs(CLASSES) == macs + sum(pixels)


def test_groups_with_a_batch_norm_are_told_from_those_without(net: Existing) -> None:
    norms = {name for name, module in net.module.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)}
    told = {group.name for group in net.architecture.all_groups() if net.architecture.has_norm(group)}
    assert told == {
        group.name for group in net.architecture.all_groups() if norms & {path for path, _ in group.members}
    }


def test_parts_hold_every_layer_once_in_order(net: Existing) -> None:
    parts = list(net.architecture.parts(CLASSES))
    assert [layer for part in parts for layer in part.layers] == list(net.architecture.layers(CLASSES))
    assert len({part.name for part in parts}) == len(parts)
    assert all(layer.block == part.name for part in parts for layer in part.layers)
    assert [part.is_edge for part in parts] == [True, *[False] * (len(parts) - 2), True]


def test_groups_hold_every_place_at_most_once(net: Existing) -> None:
    sizes = {layer.name: (layer.out_channels, layer.in_channels) for layer in net.architecture.layers(CLASSES)}
    taken = set[tuple[str, int, int]]()
    for group in net.architecture.all_groups():
        for place, (path, axis) in enumerate(group.members):
            span = group.spans[place] if group.spans else None
            numbers = range(group.width) if span is None else [number for channel in span for number in channel]
            assert len(span or numbers) == group.width, (group.name, path)
            own = {(path, axis, number) for number in numbers}
            assert len(own) == len(numbers), f"{group.name}: {path} twice"
            assert not own & taken, f"{group.name}: {path} is another group's too"
            taken |= own
            if path in sizes and axis == 0:
                assert max(numbers) < sizes[path][axis]
    assert len({group.name for group in net.architecture.all_groups()}) == len(net.architecture.all_groups())


def test_the_logits_and_the_image_are_never_cut(net: Existing) -> None:
    first, last = (list(net.architecture.layers(CLASSES))[end].name for end in (0, -1))
    members = {member for group in net.architecture.all_groups() for member in group.members}
    assert (first, 1) not in members
    assert (last, 0) not in members


@pytest.mark.parametrize("ratios", [(0.3, 0.5, 0.9), (1.0,)])
def test_what_is_cut_leaves_what_silenced_channels_leave(net: Existing, ratios: tuple[float, ...]) -> None:
    """Of every group together, each by a ratio of its own: modules have the shapes of the closed form."""
    draw = random.Random(0)
    kept = {group.name: remaining(group, draw.choice(ratios)) for group in net.architecture.all_groups()}
    check_cut(net, kept)


def test_each_group_alone_leaves_what_silenced_channels_leave(net: Existing) -> None:
    """A few of them, drawn at random; of a large network one."""
    groups = net.architecture.all_groups()
    is_large = sum(layer.parameters for layer in net.architecture.layers(CLASSES)) > 10**8
    for group in random.Random(0).sample(groups, min(1 if is_large else 4, len(groups))):
        check_cut(net, {group.name: remaining(group, 0.5)})


def remaining(group: ChannelGroup, ratio: float) -> int:
    return max(1, round(group.width * (1 - ratio)))


def check_cut(net: Existing, kept: Mapping[str, int]) -> None:
    groups = net.architecture.all_groups()
    network, x = net.built(), net.images(1)
    for group in groups:
        silence(network, group, range(kept.get(group.name, group.width), group.width))
    with torch.no_grad():
        silenced = network(x)
        prune(network, groups, kept, importance=first_channels)
        layers = {layer.name: layer for layer in net.architecture.layers(CLASSES, kept)}
        for name, module in layers_of(network).items():
            assert tuple(module.weight.shape) == closed_form(layers[name]), name
        torch.testing.assert_close(network(x), silenced, rtol=1e-4, atol=1e-4)


def first_channels(_: nn.Module, group: ChannelGroup) -> Tensor:
    return -torch.arange(group.width, dtype=torch.float32)


def test_plans_survive_json(net: Existing) -> None:
    compression = Compression(
        pruning_ratio=(0.0, 0.25, 0.5), weight_format=("int8", "int4"), granularity="layer", stage_widths=True
    )
    for seed in range(3):
        pick = Pick(random.Random(seed).choice)
        candidate = sample(pick, Fixed(net), compression, input_channels=3)
        again = Candidate.from_json(candidate.to_json())
        assert again == candidate
        assert (again.id, again.structure_id(CLASSES)) == (candidate.id, candidate.structure_id(CLASSES))
        kept = dict(candidate.plan.kept)
        assert [closed_form(layer) for layer in candidate.layers(CLASSES)] == [
            closed_form(layer) for layer in net.architecture.layers(CLASSES, kept)
        ]
