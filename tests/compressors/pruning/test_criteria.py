"""Criteria: each equals its definition, computed again in NumPy; none disturbs the network it looks at."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from evidence import HIDDEN, Array, Small, evidence_of, hidden_of, losses, values_of
from networks import ARCHITECTURE
from pair import Channels
from torch import nn
from torch.nn import functional as F

from compressors.evidence import Evidence
from compressors.pruning import IMPORTANCES, prune
from search_spaces.network import build_network

torch.set_num_threads(1)

STEP = 1e-5  # of central differences
CHANNELS = range(HIDDEN.width)


def found(name: str, network: nn.Module, evidence: Evidence | None) -> Array:
    scores: Array = IMPORTANCES[name].score(network, [HIDDEN], evidence)["hidden"].numpy()
    return scores


def scaled(values: dict[str, Array], channel: int, factor: float) -> dict[str, Array]:
    """All parameters that go with one channel, multiplied."""
    values = {name: value.copy() for name, value in values.items()}
    for name in ("first.weight", "first.bias", "norm.weight", "norm.bias"):
        values[name][channel] *= factor
    values["second.weight"][:, channel] *= factor
    return values


def test_taylor_is_the_slope_of_the_loss_by_all_that_goes_with_a_channel() -> None:
    network = Small()
    evidence, values = evidence_of(network), values_of(network)
    squares = []
    for images, labels in evidence.batches:
        up, down = (
            [losses(scaled(values, c, f), images, labels).mean() for c in CHANNELS] for f in (1 + STEP, 1 - STEP)
        )
        squares.append(((np.array(up) - np.array(down)) / (2 * STEP)) ** 2)
    assert found("taylor", network, evidence) == pytest.approx(np.mean(squares, 0), rel=1e-4)


def test_saliency_is_the_slope_by_a_gate_image_by_image() -> None:
    network = Small()
    evidence, values = evidence_of(network), values_of(network)
    slopes = []
    for images, labels in evidence.batches:
        gates = [np.where(np.arange(5) == c, STEP, 0.0) for c in CHANNELS]
        differences = [losses(values, images, labels, 1 + g) - losses(values, images, labels, 1 - g) for g in gates]
        slopes.append(np.abs(differences) / (2 * STEP))
    assert found("saliency", network, evidence) == pytest.approx(np.concatenate(slopes, 1).mean(1), rel=1e-4)


def test_leave_one_out_is_what_the_loss_rises_by() -> None:
    """The mean over images, not over batches of different sizes."""
    network = Small()
    evidence, values = evidence_of(network), values_of(network)
    images, labels = (np.concatenate(parts) for parts in zip(*evidence.batches, strict=True))
    whole = losses(values, images, labels).mean()
    gates = 1 - np.eye(5)
    expected = [losses(values, images, labels, gates[c]).mean() - whole for c in CHANNELS]
    assert found("leave_one_out", network, evidence) == pytest.approx(np.array(expected), rel=1e-4, abs=1e-7)


def test_apoz_is_the_share_of_outputs_above_zero() -> None:
    network = Small()
    evidence = evidence_of(network)
    hidden = np.concatenate([hidden_of(values_of(network), images) for images, _ in evidence.batches])
    expected = 1 - (hidden <= 0).mean((0, 2, 3))
    assert 0 < expected.min() < expected.max() < 1
    assert found("apoz", network, evidence) == pytest.approx(expected)


def test_momentum_is_the_norm_of_the_optimizers_first_moments() -> None:
    network = Small()
    evidence = evidence_of(network)
    first = np.abs(evidence.momenta["first.weight"].numpy()).sum((1, 2, 3))
    second = np.abs(evidence.momenta["second.weight"].numpy()).sum((0, 2, 3))
    assert found("momentum", network, evidence) == pytest.approx(first / first.mean() + second / second.mean())


def test_the_geometric_median_is_near_to_all_filters() -> None:
    """Two layers make the channels: their filters are compared side by side, each in units of its mean norm."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 1))
    group = Channels("g", 4, (("0", 0), ("1", 0), ("2", 1)))
    filters = []
    for path in ("0", "1"):
        own = network.get_submodule(path).weight.detach().numpy().reshape(4, -1)
        filters.append(own / np.linalg.norm(own, axis=1).mean())
    side_by_side = np.concatenate(filters, 1)
    expected = [sum(np.linalg.norm(one - other) for other in side_by_side) for one in side_by_side]
    scores = IMPORTANCES["geometric_median"].score(network, [group], None)["g"]
    assert scores.numpy() == pytest.approx(np.array(expected), rel=1e-5)


def test_random_scores_follow_the_seed_and_the_group() -> None:
    network, other = Small(), Channels("other", 5, HIDDEN.members)
    evidence = evidence_of(network)
    scores = IMPORTANCES["random"].score(network, [HIDDEN, other], evidence)
    assert torch.equal(scores["hidden"], IMPORTANCES["random"].score(network, [HIDDEN], evidence)["hidden"])
    assert not torch.equal(scores["hidden"], scores["other"])
    assert not np.array_equal(found("random", network, replace(evidence, seed=1)), scores["hidden"].numpy())
    assert float(scores["hidden"].min()) >= 0
    assert float(scores["hidden"].max()) < 1


@pytest.mark.parametrize("name", sorted(IMPORTANCES))
def test_a_network_is_left_as_it_was(name: str) -> None:
    network = Small()
    network.train()
    network.second.eval()
    before = copy.deepcopy(network.state_dict())
    IMPORTANCES[name].score(network, [HIDDEN], evidence_of(network))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert (network.training, network.norm.training, network.second.training) == (True, True, False)
    assert all(p.grad is None for p in network.parameters())
    assert not network.second._forward_pre_hooks


@pytest.mark.parametrize("name", [name for name in sorted(IMPORTANCES) if IMPORTANCES[name].needs_evidence])
def test_without_evidence_there_is_no_score(name: str) -> None:
    with pytest.raises(ValueError, match="expected evidence"):
        found(name, Small(), None)


def test_an_optimizer_without_moments_is_named() -> None:
    network = Small()
    with pytest.raises(ValueError, match="needs the optimizer's moments, got none"):
        found("momentum", network, evidence_of(network, momenta=False))


# Distances between filters and draws say nothing of what a channel does; all other criteria know a channel that does
# nothing.
KNOWING = sorted(set(IMPORTANCES) - {"geometric_median", "random"})


@pytest.mark.parametrize("name", KNOWING)
def test_channels_of_no_importance_can_go_without_a_trace(name: str) -> None:
    """In residual, depthwise and squeeze-excite blocks, and between blocks."""
    network = build_network(ARCHITECTURE, 10, seed=0).double().eval()
    groups = ARCHITECTURE.all_groups()
    for group in groups:
        for path, axis in group.members:
            for key, parameter in network.get_submodule(path).named_parameters(recurse=False):
                if axis == 0 or key == "weight":
                    parameter.data.transpose(0, axis)[[1, 4]] = 0.0
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 8, 8, generator=generator).double()
    labels = torch.arange(6)
    F.cross_entropy(network(images), labels).backward()
    momenta = {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}
    evidence = Evidence([(images, labels)], momenta)
    scores = IMPORTANCES[name].score(network, groups, evidence)
    for group in groups:
        assert scores[group.name][[1, 4]].tolist() == pytest.approx([0, 0], abs=1e-12), group.name
    if name != "leave_one_out":  # by which others may be worse than useless
        assert all(float(own.min()) >= 0 for own in scores.values())
    dead = {group.name: torch.ones(group.width).index_fill(0, torch.tensor([1, 4]), 0) for group in groups}
    expected = network(images)
    prune(network, groups, {g.name: g.width - 2 for g in groups}, importance=lambda _, g: dead[g.name])
    assert torch.allclose(network(images), expected, rtol=0, atol=1e-12)


def test_scores_of_groups_are_made_comparable() -> None:
    scores = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([10.0, 10.0])}
    units = {"a": 1, "b": 4}
    relative = IMPORTANCES["l1"].comparable(scores, units)
    assert relative["a"].tolist() == pytest.approx([0.5, 1.5])
    assert relative["b"].tolist() == pytest.approx([1.0, 1.0])
    for name, several in (("taylor", 4), ("saliency", 4), ("leave_one_out", 4), ("bn_scale", 1), ("apoz", 1)):
        common = IMPORTANCES[name].comparable(scores, units)
        assert common["a"].tolist() == [1.0, 3.0]
        assert common["b"].tolist() == [10.0 / several] * 2
