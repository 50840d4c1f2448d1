"""Channels that lie anywhere: the cut network is the whole one in which nobody reads the channels that went."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joined import HIDDEN, A, B, Joined, images, scale
from pair import Channels
from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.low_rank.paths import located
from compressors.pipeline import Options, apply_step, compress, requests_of
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES, Importance, prune
from compressors.pruning.cutting import reselected
from compressors.pruning.places import Group, Span, channels_gone, places_of, readers, weighed
from search_spaces.blocks import SelectChannels

torch.set_num_threads(1)

Change = Callable[[Channels], Channels]
orders = st.permutations(range(13))


def chosen(stays: dict[str, set[int]]) -> Importance:
    """An importance that keeps these channels."""
    return lambda _, group: torch.tensor([float(c in stays[group.name]) for c in range(group.width)])


def some(width: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, width - 1), min_size=1)


@settings(max_examples=40, deadline=None)
@given(orders, some(4), some(3), some(5))
def test_a_cut_network_is_the_whole_one_without_the_channels(
    order: list[int], a: set[int], b: set[int], hidden: set[int]
) -> None:
    network = Joined(0, order).eval()
    groups, stays = network.groups(), {A: a, B: b, HIDDEN: hidden}
    cut = copy.deepcopy(network)
    prune(cut, groups, {name: len(kept) for name, kept in stays.items()}, importance=chosen(stays))
    for group in groups:
        for channel in set(range(group.width)) - stays[group.name]:
            scale(network, group, channel, 0.0, axes=(1,))  # nobody reads it
    x = images()
    assert torch.allclose(cut(x), network(x), rtol=0, atol=1e-9)
    joined = 3 * len(b) + len(a)
    assert (cut.a.out_channels, cut.a_bn.num_features) == (len(a), len(a))
    assert (cut.b.out_channels, cut.b_bn.num_features) == (2 * len(b), 2 * len(b))
    assert (cut.grouped.in_channels, cut.grouped.groups, cut.grouped.out_channels) == (2 * len(b), len(b), 3 * len(b))
    assert sorted(cut.shuffled.selected()) == list(range(joined))
    assert (cut.norm.num_features, cut.depthwise.groups, cut.hidden.in_features) == (joined, joined, 4 * joined)
    assert (cut.hidden.out_features, cut.head.in_features, cut.head.out_features) == (len(hidden), len(hidden), 3)
    cut.train()(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in cut.parameters())


@given(orders, st.sets(st.integers(0, 12)))
def test_a_selection_of_fewer_channels_moves_the_same_ones(order: list[int], gone: set[int]) -> None:
    selected = order[:8]
    left = [channel for channel in range(13) if channel not in gone]
    found = reselected(selected, sorted(gone))
    assert [left[number] for number in found] == [channel for channel in selected if channel not in gone]


def test_what_a_convolution_in_groups_reads_need_not_be_named() -> None:
    network = Joined().eval()
    a, b, hidden = network.groups()
    named, unnamed = copy.deepcopy(network), copy.deepcopy(network)
    prune(named, [a, b, hidden], {B: 2}, importance=chosen({B: {0, 2}}))
    b = lacking(lacking(b, "grouped", 1), "depthwise", 1)
    prune(unnamed, [a, b, hidden], {B: 2}, importance=chosen({B: {0, 2}}))
    assert torch.equal(named(images()), unnamed(images()))
    assert (unnamed.grouped.groups, unnamed.grouped.in_channels) == (2, 4)


def test_one_group_alone_leaves_the_others_channels_where_they_were() -> None:
    network = Joined().eval()
    cut = copy.deepcopy(network)
    prune(cut, network.groups(), {A: 2}, importance=chosen({A: {1, 3}}))
    assert torch.equal(cut.grouped.weight, network.grouped.weight)
    order = [number for number in network.shuffled.selected() if number not in (9, 11)]
    assert cut.shuffled.selected() == tuple({10: 9, 12: 10}.get(number, number) for number in order)


@pytest.mark.parametrize("name", sorted(set(IMPORTANCES) - {"geometric_median", "random"}))
def test_channels_of_no_importance_can_go_without_a_trace(name: str) -> None:
    network = Joined().eval()
    groups, dead = network.groups(), {A: 2, B: 1, HIDDEN: 3}
    for group in groups:
        scale(network, group, dead[group.name], 0.0)
    scores = IMPORTANCES[name].score(
        network, [g for g in groups if name != "bn_scale" or g.name != HIDDEN], of(network)
    )
    for group in groups:
        if group.name not in scores:
            continue
        own = scores[group.name]
        assert own.shape == (group.width,)
        assert float(own[dead[group.name]]) == pytest.approx(0, abs=1e-12), group.name
        assert int((own.abs() > 1e-9).sum()) >= group.width - 2
    x, whole = images(), network(images())
    stays = {group.name: set(range(group.width)) - {dead[group.name]} for group in groups}
    prune(network, groups, {name: len(kept) for name, kept in stays.items()}, importance=chosen(stays))
    assert torch.allclose(network(x), whole, rtol=0, atol=1e-9)


def of(network: nn.Module) -> Evidence:
    x = images()
    labels = torch.arange(6) % 3
    momenta = torch.autograd.grad(nn.functional.cross_entropy(network(x), labels), list(network.parameters()))
    names = [name for name, _ in network.named_parameters()]
    return Evidence([(x[:4], labels[:4]), (x[4:], labels[4:])], dict(zip(names, momenta, strict=True)))


def loss(network: nn.Module, x: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(network(x), labels))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_leave_one_out_is_what_the_loss_rises_by(number: int) -> None:
    network = Joined().eval()
    group, evidence = network.groups()[number], of(network)
    x, labels = (torch.cat(parts) for parts in zip(*evidence.batches, strict=True))
    rises = []
    for channel in range(group.width):
        without = copy.deepcopy(network)
        scale(without, group, channel, 0.0, axes=(1,))
        rises.append(loss(without, x, labels) - loss(network, x, labels))
    found = IMPORTANCES["leave_one_out"].score(network, [group], evidence)[group.name]
    assert found.tolist() == pytest.approx(rises, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_taylor_is_the_slope_of_the_loss_by_all_that_goes_with_a_channel(number: int) -> None:
    network = Joined().eval()
    group, evidence, step = network.groups()[number], of(network), 1e-6
    slopes = []
    for channel in range(group.width):
        ends = []
        for factor in (1 + step, 1 - step):
            moved = copy.deepcopy(network)
            scale(moved, group, channel, factor)
            ends.append([loss(moved, *batch) for batch in evidence.batches])
        slopes.append(sum(((up - down) / (2 * step)) ** 2 for up, down in zip(*ends, strict=True)) / 2)
    found = IMPORTANCES["taylor"].score(network, [group], evidence)[group.name]
    assert found.tolist() == pytest.approx(slopes, rel=1e-3, abs=1e-9)


def test_saliency_is_the_slope_by_a_gate_on_every_reader() -> None:
    network, step = Joined().eval(), 1e-6
    evidence = of(network)
    for group in network.groups():
        slopes = []
        for channel in range(group.width):
            up, down = copy.deepcopy(network), copy.deepcopy(network)
            scale(up, group, channel, 1 + step, axes=(1,))
            scale(down, group, channel, 1 - step, axes=(1,))
            images_and_labels = [
                (x[None], label[None]) for xs, ys in evidence.batches for x, label in zip(xs, ys, strict=True)
            ]
            rises = [abs(loss(up, *one) - loss(down, *one)) / (2 * step) for one in images_and_labels]
            slopes.append(sum(rises) / len(rises))
        found = IMPORTANCES["saliency"].score(network, [group], evidence)[group.name]
        assert found.tolist() == pytest.approx(slopes, rel=1e-3, abs=1e-7)


def test_apoz_is_the_share_of_what_is_read_that_is_above_zero() -> None:
    network = Joined().eval()
    fed: list[Tensor] = []
    network.hidden.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
    network(images())
    (a, b, _), above = network.groups(), (fed[0] > 0).double().mean(0)
    for group in (a, b):
        expected = [float(above[list(numbers)].mean()) for numbers in group.spans[-1] or ()]
        found = IMPORTANCES["apoz"].score(network, [group], of(network))[group.name]
        assert len(set(expected)) >= 3
        assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("name", "p"), [("l1", 1), ("l2", 2)])
def test_norms_are_over_all_numbers_of_a_channel(name: str, p: int) -> None:
    network = Joined()
    _, group, _ = network.groups()
    expected = torch.zeros(3).double()
    for weight, axis, numbers in (
        (network.b.weight, 0, [[0, 1], [2, 3], [4, 5]]),
        (network.grouped.weight, 0, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (network.depthwise.weight, 0, group.spans[8]),
        (network.hidden.weight, 1, group.spans[9]),
    ):
        norms = torch.stack([torch.linalg.vector_norm(weight.transpose(0, axis)[list(n)], p) for n in numbers or ()])
        expected += norms.detach() / norms.detach().mean()
    assert IMPORTANCES[name].score(network, [group], None)[B].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_bn_scale_is_the_mean_over_all_numbers_of_a_channel() -> None:
    network = Joined()
    _, group, _ = network.groups()
    own = [network.b_bn.weight[[2 * c, 2 * c + 1]].abs().mean() for c in range(3)]
    mixed = [network.norm.weight[list(numbers)].abs().mean() for numbers in group.spans[6] or ()]
    expected = [(x.item() + y.item()) / 2 for x, y in zip(own, mixed, strict=True)]
    assert IMPORTANCES["bn_scale"].score(network, [group], None)[B].tolist() == pytest.approx(expected)


def test_filters_of_a_channel_lie_side_by_side() -> None:
    network = Joined()
    _, group, _ = network.groups()
    sides = [
        network.b.weight.reshape(3, -1), network.grouped.weight.reshape(3, -1),
        network.depthwise.weight[torch.tensor(group.spans[8])].reshape(3, -1),
    ]  # fmt: skip
    filters = torch.cat([side / side.norm(dim=1).mean() for side in sides], 1).detach()
    expected = [sum(float((one - other).norm()) for other in filters) for one in filters]
    found = IMPORTANCES["geometric_median"].score(network, [group], None)[B]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_little_by_little_channels_are_zero_wherever_they_lie() -> None:
    network = Joined()
    groups, plan = network.groups(), CompressionPlan(kept={A: 2, B: 1, HIDDEN: 4})
    options = Options(groups, IMPORTANCES["taylor"], evidence=of(network), gradual=True)
    (request,) = requests_of(plan)
    method = request.step.loaded()
    network = apply_step(network, request, options)
    method.end_stage(network)
    for group, left in zip(groups, (2, 1, 4), strict=True):
        zeros = [
            all(
                bool((parameter.transpose(0, place.axis)[place.numbers()[channel]] == 0).all())
                for place, layer in weighed(network, group)
                for name, parameter in layer.named_parameters(recurse=False)
                if place.axis == 0 or name == "weight"
            )
            for channel in range(group.width)
        ]
        assert group.width - sum(zeros) == left
    network.eval()
    expected = network(images())
    assert torch.allclose(method.leave(network)(images()), expected, rtol=0, atol=1e-9)


def test_what_a_selection_selects_is_part_of_a_checkpoint() -> None:
    """Restored as shapes alone it selects others, until the weights are loaded."""
    plan = CompressionPlan(kept={A: 2, B: 2})
    (request,) = requests_of(plan)
    first, second = Joined(0).eval(), Joined(1).eval()
    assert not any("shuffled" in name for name in first.state_dict())
    network = apply_step(first, request, Options(first.groups(), IMPORTANCES["l1"]))
    restored = apply_step(second, request, Options(second.groups(), IMPORTANCES["taylor"], only_shapes=True))
    assert restored.get_submodule("shuffled").selected() != network.get_submodule("shuffled").selected()
    restored.load_state_dict(network.state_dict())
    assert torch.equal(restored(images()), network(images()))
    assert isinstance(layer := restored.get_submodule("shuffled"), SelectChannels)
    assert layer.selected() == network.get_submodule("shuffled").selected()


def test_a_budget_counts_channels_where_they_are_written() -> None:
    """Of 4, 6 and 5 channels half are 7.5: with a grid of 2 a channel of `b` is as much as two of the others."""
    plan = CompressionPlan(steps={"pruned": {"network": {"ratio": 0.5, "grid": 2}}})
    network = Joined()
    cut = compress(network, plan, Options(network.groups(), IMPORTANCES["l2"]), [images()])
    left = [cut.get_submodule(name).weight.shape[0] for name in ("a", "b", "hidden")]
    assert abs(sum(left) - 7.5) <= 1
    assert left[1] % 2 == 0


def test_a_layer_that_is_factored_keeps_its_numbers() -> None:
    network = Joined()
    low_rank = {"hidden": {"method": "svd", "ratio": 0.5}, "a": {"method": "spatial_svd", "rank": 1}}
    plan = CompressionPlan(kept={A: 2, B: 1, HIDDEN: 4}, steps={"low_rank": low_rank})
    cut = compress(network.float(), plan, Options(network.groups()), [images().float()], trained=False)
    assert cut(images().float()).shape == (6, 3)
    inputs, outputs = (2 + 3) * 4, 4  # what is left of the hidden layer
    rank = cut.get_submodule("hidden.0").weight.shape[0]
    assert rank == max(r for r in range(1, 5) if r * (inputs + 1) + outputs * (r + 1) <= 0.5 * outputs * (inputs + 1))
    assert cut.get_submodule("a.1").weight.shape[0] == 2
    assert [group.unit for group in located(network, network.groups())] == [1, 2, 1]


def test_by_how_much_layers_become_shorter() -> None:
    gone = channels_gone(Joined().groups(), {A: 1, B: 2})
    assert gone["a", 0] == 3
    assert (gone["b", 0], gone["grouped", 1], gone["grouped", 0]) == (2, 2, 3)
    assert (gone["norm", 0], gone["hidden", 1]) == (3 + 3, 4 * (3 + 3))
    assert ("hidden", 0) not in gone


def test_readers_are_where_channels_end() -> None:
    network = Joined()
    assert [[place.path for place in readers(network, group)] for group in network.groups()] == [
        ["hidden"], ["hidden"], ["head"],
    ]  # fmt: skip


# What does not fit is refused by name, before anything is cut.


def wrong(group: Channels, path: str, axis: int, span: Span) -> Channels:
    """The group with another span at one place."""
    spans = [span if member == (path, axis) else own for member, own in zip(group.members, group.spans, strict=True)]
    return replace(group, spans=tuple(spans))


def lacking(group: Channels, path: str, axis: int) -> Channels:
    kept = [
        (m, s)
        for m, s in zip(group.members, group.spans or (None,) * len(group.members), strict=True)
        if m != (path, axis)
    ]
    return replace(group, members=tuple(m for m, _ in kept), spans=tuple(s for _, s in kept))


def at(path: str, axis: int, *span: tuple[int, ...]) -> Change:
    """Another span at one place."""
    return lambda group: wrong(group, path, axis, span)


def without(path: str, axis: int) -> Change:
    return lambda group: lacking(group, path, axis)


MIXED_B = Joined().groups()[1].spans[6] or ()


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, at("a", 0, (0,), (1,), (2,), (4,)), r"a \(Conv2d\): .* axis 0 0 to 4, supported: 0 to 3"),
        (0, at("a", 0, (0,), (1,), (2,), (-1,)), "numbers along axis 0 -1 to 2, supported: 0 to 3"),
        (0, at("a", 0, (0,), (1,), (2,)), "expected a span of 4 channels in a, got 3"),
        (0, at("a", 0, (0,), (1,), (2,), (2,)), "expected each number along axis 0 of a once"),
        (0, at("a", 0, (0, 1), (2,), (3,), ()), r"as many numbers of every channel .* of a, got \[0, 1, 2\]"),
        (0, lambda g: Channels(g.name, 4, g.members, (None,)), "expected 8 spans or none, got 1"),
        (1, at("norm", 0, MIXED_B[0], MIXED_B[1], (4, 8, 0)), "norm, axis 0, is already a member of a.width"),
        (1, without("grouped", 0), r"grouped \(Conv2d\): group b.width: axis 1, supported: 0"),
        (
            1,
            at("grouped", 0, (0, 1, 3), (2, 4, 5), (6, 7, 8)),
            r"in 3 groups \(grouped\) with 6 inputs",
        ),
        (1, at("grouped", 1, (2, 3), (0, 1), (4, 5)), "unless its groups stay whole"),
        (0, without("shuffled", 1), "a.width: expected the channels that shuffled reads, got none"),
        (0, at("shuffled", 0, (0,), (1,), (2,), (3,)), "expected the channels that shuffled selects behind it"),
        (0, at("shuffled", 0, (0,), (1,), (2,), (13,)), r"shuffled \(SelectChannels\): .* 0 to 12"),
        (0, without("depthwise", 0), r"depthwise \(Conv2d\): group a.width: axis 1, supported: 0"),
    ],
)
def test_what_does_not_fit_is_named(number: int, change: Change, message: str) -> None:
    network = Joined()
    groups: list[Group] = list(network.groups())
    groups[number] = change(network.groups()[number])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        prune(network, groups, {A: 2, B: 2}, importance=lambda _, g: torch.ones(g.width))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def test_members_without_spans_are_whole_axes() -> None:
    plain = Channels("g", 3, (("b", 0), ("b_bn", 0)), unit=2)
    assert [place.numbers().tolist() for place in places_of(plain)] == [[[0, 1], [2, 3], [4, 5]]] * 2
    with pytest.raises(ValueError, match=r"a \(Conv2d\): group g: channels along axis 0 4, supported: 6"):
        prune(Joined(), [Channels("g", 3, (("a", 0),), unit=2)], {"g": 2}, importance=lambda *_: torch.ones(3))
