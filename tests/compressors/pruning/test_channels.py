"""Pruning: a pruned network computes what the whole one does when nobody reads the removed channels."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping

import pytest
import torch
from pair import MIDDLE, Channels, Pair
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune as masks
from torch.nn.utils import weight_norm as normed_weight
from unsupported import hooked, parametrized

import compressors.pruning.channels as pruning
from compressors.evidence import Evidence
from compressors.folding import fold_batch_norm
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES, Group, Importance, batch_norm_scale, prune, weight_norm
from nas.candidates.candidate import Candidate
from search_spaces.architecture import Architecture
from search_spaces.layers import ChannelGroup
from search_spaces.network import Network, build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

CLASSES = 10
BY_NAME: dict[str, Importance] = {"l1": weight_norm(1), "l2": weight_norm(2), "bn_scale": batch_norm_scale}
SEEDS = range(8)


def random_candidate(seed: int) -> Candidate:
    """A small random network and a random number of channels kept for most of its groups."""
    choose = random.Random(seed)
    space = MobileSpace.model_validate({"preset": "8px"})
    architecture = space.sample(Pick(choose.choice), input_channels=3)
    kept = {g.name: choose.randint(1, g.width) for g in architecture.groups() if choose.random() < 0.8}
    return Candidate(architecture=architecture, plan=CompressionPlan(kept=kept))


def random_network(architecture: Architecture, seed: int) -> Network:
    """In double precision, with batch norms as after training: all four tensors differ between channels."""
    network = build_network(architecture, CLASSES, seed=seed).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.normal_(0, 1, generator=generator)
            module.bias.data.normal_(0, 1, generator=generator)
            module.running_mean.normal_(0, 1, generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
    return network


def images(architecture: Architecture) -> Tensor:
    size = architecture.input_size
    pixels = torch.rand(4, architecture.input_channels, size, size, generator=torch.Generator().manual_seed(0))
    return pixels.double()


def scores(network: nn.Module, group: Group, name: str) -> list[float]:
    """Importance by the words of its definition, one channel and one member at a time."""
    total = [0.0] * group.width
    for path, axis in group.members:
        module = network.get_submodule(path)
        if isinstance(module, nn.BatchNorm2d) != (name == "bn_scale"):
            continue
        if name == "bn_scale":
            own = module.weight.detach().abs().tolist()
            mean = 1.0
        else:
            slices = [module.weight.detach().select(axis, c).flatten() for c in range(group.width)]
            own = [sum(abs(w) for w in s.tolist()) if name == "l1" else float(s.square().sum()) ** 0.5 for s in slices]
            mean = sum(own) / len(own)
        total = [before + score / mean for before, score in zip(total, own, strict=True)]
    return total


def expected_channels(network: nn.Module, group: Group, count: int, name: str) -> list[int]:
    """The `count` highest scores' places, ascending."""
    found = scores(network, group, name)
    return sorted(sorted(range(group.width), key=lambda channel: -found[channel])[:count])


def without(network: Network, group: ChannelGroup, channels: list[int]) -> None:
    """Let nobody read some of a group's channels: their columns of project and squeeze are zero."""
    for path, axis in group.members:
        if axis == 1:
            network.get_submodule(path).weight.data[:, channels] = 0.0


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_pruned_network_is_the_whole_one_without_the_channels(seed: int, name: str) -> None:
    candidate = random_candidate(seed)
    architecture, kept = candidate.architecture, candidate.plan.kept
    network = random_network(architecture, seed)
    masked, pruned = copy.deepcopy(network), copy.deepcopy(network)
    for group in architecture.groups():
        keep = expected_channels(network, group, kept.get(group.name, group.width), name)
        without(masked, group, [c for c in range(group.width) if c not in keep])
    prune(pruned, architecture.groups(), kept, importance=BY_NAME[name])
    x = images(architecture)
    with torch.no_grad():
        expected, found, whole = masked(x), pruned(x), network(x)
    span = float(expected.max() - expected.min())
    assert torch.allclose(found, expected, rtol=0, atol=1e-9 * span)
    if any(kept[g.name] < g.width for g in architecture.groups() if g.name in kept):
        assert not torch.allclose(whole, expected, rtol=0, atol=1e-3 * span)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_best_channels_stay_in_their_order(name: str) -> None:
    candidate = random_candidate(1)
    network = random_network(candidate.architecture, 1)
    before = copy.deepcopy(network)
    groups = candidate.architecture.groups()
    kept = {group.name: group.width // 2 for group in groups}
    prune(network, groups, kept, importance=BY_NAME[name])
    for group in groups:
        keep = torch.tensor(expected_channels(before, group, kept[group.name], name))
        for path, axis in group.members:
            old, new = before.get_submodule(path), network.get_submodule(path)
            assert torch.equal(new.weight, old.weight.index_select(axis, keep)), path
            if isinstance(new, nn.BatchNorm2d):
                for tensor in ("bias", "running_mean", "running_var"):
                    assert torch.equal(getattr(new, tensor), getattr(old, tensor)[keep]), f"{path}.{tensor}"


@pytest.mark.parametrize("seed", SEEDS)
def test_closed_form_costs_are_those_of_the_built_network(seed: int) -> None:
    candidate = random_candidate(seed)
    network = build_network(candidate.architecture, CLASSES, seed=seed)
    prune(network, candidate.architecture.groups(), candidate.plan.kept, importance=weight_norm(1))
    folded = fold_batch_norm(network)
    assert sum(p.numel() for p in folded.parameters()) == candidate.parameters(CLASSES)
    macs = measured_macs(folded, candidate.architecture)
    assert macs == {layer.name: layer.macs for layer in candidate.layers(CLASSES)}
    assert sum(macs.values()) == candidate.macs(CLASSES)


def measured_macs(network: nn.Module, architecture: Architecture) -> dict[str, int]:
    """Outputs times the weights each of them reads, seen by hooks on one image."""
    found: dict[str, int] = {}

    def listen(name: str, module: nn.Conv2d | nn.Linear) -> None:
        def hook(_: nn.Module, __: object, out: Tensor) -> None:
            found[name] = out.numel() * module.weight[0].numel()

        module.register_forward_hook(hook)

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            listen(name, module)
    with torch.no_grad():
        network(images(architecture)[:1].float())
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_a_pruned_network_trains(seed: int) -> None:
    candidate = random_candidate(seed)
    network = build_network(candidate.architecture, CLASSES, seed=seed)
    prune(network, candidate.architecture.groups(), candidate.plan.kept, importance=weight_norm(2))
    network.train()(images(candidate.architecture).float()).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name


def test_linear_layers_are_cut_on_both_sides() -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    whole = copy.deepcopy(network)
    keep = [1, 3]
    group = Channels("hidden", 4, (("0", 0), ("2", 1)))
    prune(network, [group], {"hidden": 2}, importance=lambda *_: torch.tensor([0.0, 2.0, 1.0, 3.0]))
    whole[2].weight.data[:, [0, 2]] = 0.0
    x = torch.rand(5, 2)
    assert torch.allclose(network(x), whole(x), atol=1e-6)
    assert (network[0].out_features, network[2].in_features, network[2].out_features) == (2, 2, 3)
    assert torch.equal(network[0].weight, whole[0].weight[keep])


def test_batch_norm_of_features_is_cut_with_its_linear_layer() -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm1d)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.copy_(torch.tensor([0.5, 1.0, 2.0, 3.0]) * torch.rand(1))
    whole = copy.deepcopy(network).eval()
    group = Channels("hidden", 4, (("0", 0), ("1", 0), ("3", 1)))
    prune(network, [group], {"hidden": 2}, importance=batch_norm_scale)
    whole[3].weight.data[:, :2] = 0.0  # of the smallest scales
    x = torch.rand(5, 2)
    assert torch.allclose(network.eval()(x), whole(x), atol=1e-6)
    assert (network[0].out_features, norm.num_features, network[3].in_features) == (2, 2, 2)
    assert [len(tensor) for tensor in norm.state_dict().values() if tensor.dim()] == [2] * 4


def test_an_importance_of_ones_own_is_obeyed() -> None:
    asked: list[str] = []

    def rising(module: nn.Module, group: Group) -> Tensor:
        asked.append(group.name)
        return torch.arange(group.width, dtype=torch.float32)

    architecture = random_candidate(3).architecture
    network = random_network(architecture, 3)
    before = copy.deepcopy(network)
    group = architecture.groups()[0]
    prune(network, architecture.groups(), {group.name: 3}, importance=rising)
    producer = group.members[0][0]
    assert torch.equal(network.get_submodule(producer).weight, before.get_submodule(producer).weight[-3:])
    assert asked == [group.name]


def test_a_layer_that_was_not_cut_as_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "cut", lambda *_: None)
    with pytest.raises(ValueError, match="first: expected 2 channels along axis 0 after pruning, got 3"):
        prune(Pair(), [MIDDLE], {"middle": 2}, importance=weight_norm(1))


def test_nothing_kept_back_leaves_the_network_alone() -> None:
    architecture = random_candidate(2).architecture
    network = random_network(architecture, 2)
    before = copy.deepcopy(network.state_dict())
    prune(network, architecture.groups(), {}, importance=weight_norm(1))
    prune(network, architecture.groups(), {g.name: g.width for g in architecture.groups()}, importance=weight_norm(1))
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"middle": 0}, r"group middle: expected 1\.\.3 channels kept, got 0"),
        ({"middle": 4}, r"group middle: expected 1\.\.3 channels kept, got 4"),
        ({"centre": 1}, r"no channel group 'centre', expected one of \['middle'\]"),
    ],
)
def test_errors_name_the_group_and_the_counts(kept: Mapping[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune(Pair(), [MIDDLE], kept, importance=weight_norm(1))


# What pruning does not support is refused by name, before anything is cut.


class Multiplied(nn.Module):
    """A depthwise convolution with two filters per input, as torch's documentation calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.dw, self.pw = nn.Conv2d(2, 4, 3, groups=2, bias=False), nn.Conv2d(4, 1, 1)


def one(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer)


def masked(module: nn.Module) -> nn.Module:
    masks.random_unstructured(module, "weight", 0.5)  # type: ignore[no-untyped-call]
    return module


def twice() -> nn.Module:
    network = nn.Module()
    network.a = network.b = nn.Conv2d(4, 4, 1)
    return network


def tied() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    network[1].weight = network[0].weight
    return network


def group(*members: tuple[str, int], width: int = 4) -> Channels:
    return Channels("g", width, members)


WEIGHT = nn.Conv2d(4, 4, 3)
DEPTHWISE = nn.Conv2d(4, 4, 3, groups=4)


@pytest.mark.parametrize(
    ("network", "cut", "message"),
    [
        (
            Multiplied(),
            group(("dw", 0), ("pw", 1)),
            r"in 2 groups \(dw\) with 2 inputs and 4 outputs, unless its groups stay whole: g has parts",
        ),
        (one(nn.Conv2d(4, 4, 3, groups=2)), group(("0", 0)), "cannot cut channels of a convolution in 2 groups"),
        (
            one(nn.Conv2d(4, 8, 3, groups=4)),
            group(("0", 0), width=8),
            "cannot cut channels of a convolution in 4 groups",
        ),
        (one(nn.Conv2d(4, 4, 3, groups=2)), group(("0", 1)), r"0 \(Conv2d\): group g: axis 1, supported: 0"),
        (one(DEPTHWISE), group(("0", 1)), r"0 \(Conv2d\): group g: axis 1, supported: 0"),
        (one(nn.BatchNorm2d(4)), group(("0", 1)), r"0 \(BatchNorm2d\): group g: axis 1, supported: 0"),
        (one(WEIGHT), group(("0", 2), width=3), r"0 \(Conv2d\): group g: axis 2, supported: 0 or 1"),
        (one(WEIGHT), group(("0", -4)), r"0 \(Conv2d\): group g: axis -4, supported: 0 or 1"),
        (one(nn.PReLU(4)), group(("0", 0)), r"cannot cut channels of PReLU \(0\), supported: Conv2d, Linear, BatchN"),
        (one(nn.ConvTranspose2d(4, 4, 3)), group(("0", 0)), r"cannot cut channels of ConvTranspose2d \(0\)"),
        (one(nn.Conv1d(4, 4, 3)), group(("0", 0)), r"cannot cut channels of Conv1d \(0\)"),
        (one(nn.BatchNorm3d(4)), group(("0", 0)), r"cannot cut channels of BatchNorm3d \(0\)"),
        (one(nn.BatchNorm1d(4)), group(("0", 1)), r"0 \(BatchNorm1d\): group g: axis 1, supported: 0"),
        (one(nn.BatchNorm1d(8)), group(("0", 0)), r"group g: channels along axis 0 8, supported: 4"),
        (one(nn.GroupNorm(2, 4)), group(("0", 0)), r"cannot cut channels of GroupNorm \(0\)"),
        (one(WEIGHT), group(("0", 0), width=3), r"0 \(Conv2d\): group g: channels along axis 0 4, supported: 3"),
        (one(nn.Conv2d(8, 4, 1)), group(("0", 1)), r"group g: channels along axis 1 8, supported: 4"),
        (one(nn.Linear(36, 4)), group(("0", 1)), r"0 \(Linear\): group g: channels along axis 1 36, supported: 4"),
        (one(nn.BatchNorm2d(8)), group(("0", 0)), r"group g: channels along axis 0 8, supported: 4"),
        (one(WEIGHT), group(("0", 0), ("1", 0)), "group g: the network has no member '1'"),
        (one(WEIGHT), group(("0.weight", 0)), "group g: the network has no member '0.weight'"),
        (one(WEIGHT), group(("0", 0), ("0", 0)), "group g: 0, axis 0, is already a member of g"),
        (one(hooked(nn.Conv2d(4, 4, 1))), group(("0", 0)), r"0 \(Conv2d\): forward hooks function, supported: none"),
        (one(normed_weight(nn.Conv2d(4, 4, 1))), group(("0", 0)), r"0 \(Conv2d\): forward pre-hooks WeightNorm"),
        (one(masked(nn.Conv2d(4, 4, 1))), group(("0", 0)), r"0 \(Conv2d\): forward pre-hooks RandomUnstructured"),
        (one(parametrized(nn.Conv2d(4, 4, 1))), group(("0", 0)), "0 .*: parametrizations of weight, supported: none"),
        (twice(), group(("a", 0)), r"a \(Conv2d\): registered as a and b, supported: one name per module"),
        (twice(), group(("a", 0), ("b", 0)), r"a \(Conv2d\): registered as a and b, supported: one name per module"),
        (tied(), group(("0", 0)), r"0 \(Conv2d\): weight shared by 0.weight and 1.weight, supported: parameters of it"),
        (one(nn.Conv2d(4, 4, 1).to(torch.complex64)), group(("0", 0)), r"0 \(Conv2d\): dtype of weight complex64"),
    ],
)
@pytest.mark.parametrize("error", [ValueError])
def test_what_pruning_does_not_support_is_named(
    network: nn.Module, cut: Channels, message: str, error: type[Exception]
) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(error, match=message):
        prune(network, [cut], {"g": 2}, importance=lambda *_: torch.ones(cut.width))
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_layers_are_refused_as_types_too() -> None:
    with pytest.raises(TypeError, match="cannot cut channels of a convolution in 2 groups"):
        prune(Multiplied(), [group(("dw", 0))], {"g": 2}, importance=weight_norm(1))


def test_nothing_is_cut_where_a_later_group_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.PReLU(4))
    groups = [Channels("a", 4, (("0", 0),)), Channels("b", 4, (("1", 0),))]
    with pytest.raises(TypeError, match="PReLU"):
        prune(network, groups, {"a": 2, "b": 2}, importance=lambda *_: torch.ones(4))
    assert network[0].weight.shape[0] == 4


def test_a_channel_in_two_groups_is_named() -> None:
    groups = [Channels(name, 3, (("first", 0),)) for name in "ab"]
    with pytest.raises(ValueError, match="group b: first, axis 0, is already a member of a"):
        prune(Pair(), groups, {"a": 2, "b": 2}, importance=weight_norm(1))


def test_a_group_without_members_is_refused() -> None:
    with pytest.raises(ValueError, match="group g: expected members to cut, got none"):
        prune(Pair(), [group()], {"g": 2}, importance=weight_norm(1))


def test_two_groups_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="channel group middle: expected one of this name, got several"):
        prune(Pair(), [MIDDLE, MIDDLE], {"middle": 2}, importance=weight_norm(1))


@pytest.mark.parametrize(
    "scores", [torch.ones(2), torch.ones(3, 1), torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([1, 2, torch.inf])]
)
def test_scores_must_be_one_finite_number_per_channel(scores: Tensor) -> None:
    with pytest.raises(ValueError, match="group middle: expected 3 finite scores of importance"):
        prune(Pair(), [MIDDLE], {"middle": 2}, importance=lambda *_: scores)


def test_a_layer_may_hold_a_group_on_both_axes() -> None:
    """As the second convolution of a residual block without an inner width would."""
    network = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    both = Channels("g", 4, (("0", 0), ("1", 1), ("1", 0), ("2", 1)))
    prune(network, [both], {"g": 3}, importance=weight_norm(1))
    assert (network[1].in_channels, network[1].out_channels, tuple(network[1].weight.shape)) == (3, 3, (3, 3, 1, 1))
    assert network(torch.rand(1, 2, 5, 5)).shape == (1, 2, 5, 5)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_paddings_of_any_kind_are_kept(mode: str) -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same", padding_mode=mode), nn.ReLU(), nn.Conv2d(4, 1, 1))
    whole = copy.deepcopy(network)
    cut = Channels("g", 4, (("0", 0), ("2", 1)))
    prune(network, [cut], {"g": 2}, importance=lambda *_: torch.arange(4.0))
    whole[2].weight.data[:, :2] = 0
    x = torch.rand(2, 2, 6, 6)
    assert torch.allclose(network(x), whole(x), atol=1e-6)


def test_frozen_weights_stay_frozen() -> None:
    pair = Pair()
    pair.first.weight.requires_grad_(False)
    prune(pair, [MIDDLE], {"middle": 2}, importance=weight_norm(1))
    assert not pair.first.weight.requires_grad
    assert pair.second.weight.requires_grad


def test_the_order_of_cutting_does_not_matter() -> None:
    architecture = random_candidate(4).architecture
    there, back = random_network(architecture, 4), random_network(architecture, 4)
    kept = {group.name: group.width // 2 for group in architecture.groups()}
    assert len(kept) > 1
    prune(there, architecture.groups(), kept, importance=weight_norm(1))
    prune(back, architecture.groups(), dict(reversed(kept.items())), importance=weight_norm(1))
    after = back.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in there.state_dict().items())


class Twice(nn.Module):
    """A convolution that runs twice, each time with a norm of its own: what it writes is what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again, self.head = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.one, self.two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.stem(x))
        out = torch.relu(self.one(self.again(out)))
        return self.head(torch.relu(self.two(self.again(out)))).mean((2, 3))


def test_a_layer_that_runs_twice_is_cut_once() -> None:
    torch.manual_seed(0)
    network = Twice().double().eval()
    members = (("stem", 0), ("again", 0), ("again", 1), ("one", 0), ("two", 0), ("head", 1))
    own, (x, labels) = Channels("g", 4, members), (torch.rand(5, 2, 6, 6).double(), torch.arange(5) % 2)
    rises = IMPORTANCES["leave_one_out"].score(network, [own], Evidence([(x, labels)]))["g"]
    for channel in range(4):
        whole, cut = copy.deepcopy(network), copy.deepcopy(network)
        for path in ("again", "head"):
            whole.get_submodule(path).weight.data[:, channel] = 0.0
        prune(cut, [own], {"g": 3}, importance=lambda *_, lost=channel: -torch.eye(4)[lost])  # type: ignore[misc]
        assert torch.allclose(cut(x), whole(x), rtol=0, atol=1e-12)
        rise = F.cross_entropy(whole(x), labels) - F.cross_entropy(network(x), labels)
        assert float(rises[channel]) == pytest.approx(float(rise.detach()), abs=1e-6)
        assert torch.allclose(fold_batch_norm(cut)(x), cut(x), rtol=0, atol=1e-12)
