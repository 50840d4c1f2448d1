"""Pruning little by little: zeros that grow along a cubic, stay, and can be cut without a trace."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from evidence import HIDDEN, Small, evidence_of
from torch import Tensor, nn

from compressors.pipeline import Options, compress, requests_of
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES, Criterion
from compressors.pruning.gradual import RAMP, ROUNDS, gradual_of, ramped
from compressors.pruning.step import PRUNING
from compressors.requests.pruned import Prune

torch.set_num_threads(1)
PLAN = CompressionPlan(kept={"hidden": 2})


def test_the_share_follows_the_cubic_in_rounds() -> None:
    for number in range(ROUNDS + 1):
        place = number / ROUNDS * RAMP
        assert ramped(place) == pytest.approx(1 - (1 - place / RAMP) ** 3)
    assert ramped(RAMP / ROUNDS * 0.99) == 0.0
    assert ramped(0.9) == ramped(1.0) == 1.0


def begun(name: str = "taylor", *, only_shapes: bool = False, seed: int = 0) -> nn.Module:
    network = Small(seed)
    options = Options([HIDDEN], IMPORTANCES[name], evidence=evidence_of(network), gradual=True, only_shapes=only_shapes)
    (request,) = requests_of(PLAN)
    return PRUNING.apply(network, request.record, options)


def shaken(network: nn.Module, seed: int) -> None:
    """What an optimizer's step does: every parameter moves."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).double()


def zeros(network: nn.Module) -> list[bool]:
    """Which channels are zero in all that goes with them."""
    first, norm, second = (network.get_submodule(path) for path in ("first", "norm", "second"))
    parts = [first.weight.flatten(1), first.bias[:, None], norm.weight[:, None], norm.bias[:, None]]
    every = torch.cat([*parts, second.weight.transpose(0, 1).flatten(1)], 1)
    return [bool(row) for row in (every == 0).all(1)]


@pytest.mark.parametrize("name", sorted(IMPORTANCES))
def test_channels_go_one_after_the_other_and_none_comes_back(name: str) -> None:
    network = begun(name)
    before = [False] * 5
    for step in range(20):
        PRUNING.before_step(network, step / 40)
        found = zeros(network)
        assert all(now for now, earlier in zip(found, before, strict=True) if earlier)
        assert sum(found) == int(3 * ramped(step / 40) + 0.5)
        before = found
        shaken(network, step)
    PRUNING.end_stage(network)
    assert zeros(network) == before
    assert sum(before) == 3


def test_what_is_cut_in_the_end_was_zero() -> None:
    network, x = begun(), torch.randn(4, 2, 3, 3).double()
    network.eval()
    for done in (0.0, 0.1, 0.8):
        PRUNING.before_step(network, done)
        shaken(network, 0)
    PRUNING.averaged(network)
    expected = network(x)
    survivors = [channel for channel, gone in enumerate(zeros(network)) if not gone]
    second = network.get_submodule("second").weight.detach().clone()
    left = PRUNING.leave(network)
    assert torch.allclose(left(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(left.get_submodule("second").weight, second[:, survivors])
    assert gradual_of(left) is None
    assert left.get_submodule("norm").num_features == 2


def test_channels_are_ranked_again_as_they_are_then() -> None:
    """All but one channel of the three best grow tiny in training: those that would have gone at first stay."""
    network = begun("l1")
    scores = IMPORTANCES["l1"].score(network, [HIDDEN], None)["hidden"]
    best = torch.topk(scores, 3).indices
    for path, axis in (("first", 0), ("second", 1)):
        network.get_submodule(path).weight.data.transpose(0, axis)[best] *= 1e-3
    PRUNING.before_step(network, 1.0)
    assert [channel for channel, gone in enumerate(zeros(network)) if gone] == sorted(best.tolist())


def test_moments_of_the_stage_before_rank_once() -> None:
    network = begun("momentum")
    gradual = gradual_of(network)
    assert gradual is not None
    expected = gradual.scores(HIDDEN).topk(3, largest=False).indices.sort().values.tolist()
    gradual.evidence = None  # as after a restart, which has no moments
    PRUNING.before_step(network, 1.0)
    assert [channel for channel, gone in enumerate(zeros(network)) if gone] == expected


def test_a_restored_network_goes_on_as_the_first_one() -> None:
    network = begun("saliency")
    PRUNING.before_step(network, 0.03)
    shaken(network, 0)
    restored = begun("saliency", only_shapes=True, seed=1)
    restored.load_state_dict(network.state_dict())
    for each in (network, restored):
        PRUNING.before_step(each, 0.1)
        shaken(each, 1)
        PRUNING.end_stage(each)
    one, other = PRUNING.leave(network).state_dict(), PRUNING.leave(restored).state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_copy_goes_its_own_way() -> None:
    network = begun()
    PRUNING.before_step(network, 0.1)
    before = copy.deepcopy(network.state_dict())
    copied = copy.deepcopy(network)
    PRUNING.end_stage(copied)
    assert sum(zeros(copied)) == 3
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    own, other = gradual_of(network), gradual_of(copied)
    assert own is not None
    assert other is not None
    assert own.evidence is other.evidence


def test_little_by_little_with_no_time_between_is_at_once() -> None:
    network = Small()
    evidence, batches = evidence_of(network), [torch.randn(4, 2, 3, 3).double()]

    def compressed(**fields: bool) -> dict[str, Tensor]:
        options = Options([HIDDEN], IMPORTANCES["taylor"], evidence=evidence, **fields)
        return compress(network, PLAN, options, batches).state_dict()

    one, other = compressed(), compressed(gradual=True)
    assert all(torch.allclose(one[key], other[key], atol=1e-12) for key in one)


def test_criteria_that_call_a_zero_channel_better_bring_none_back() -> None:
    """By distance to the other filters a zero one may be the best of all."""
    rising = Criterion(lambda network, *_: {"hidden": (network.first.weight == 0).flatten(1).all(1).float()})
    network = Small()
    options = Options([HIDDEN], rising, gradual=True)
    (request,) = requests_of(PLAN)
    network = PRUNING.apply(network, request.record, options)
    seen = []
    for done in (0.03, 0.1, 1.0):
        PRUNING.before_step(network, done)
        seen.append({channel for channel, gone in enumerate(zeros(network)) if gone})
    assert seen[0] < seen[1] < seen[2]


def test_shapes_alone_need_no_data() -> None:
    """A network that was not trained has no evidence, and costs are taken of it."""
    batches = [torch.randn(4, 2, 3, 3).double()]
    options = Options([HIDDEN], IMPORTANCES["taylor"], gradual=True)
    found = compress(Small(), PLAN, options, batches, trained=False)
    assert found.get_submodule("second").weight.shape == (3, 2, 1, 1)


def test_what_is_restored_to_be_cut_reads_no_data() -> None:
    """Its weights come from a checkpoint of a later stage, and one pass over data for every channel takes long."""
    network = begun("leave_one_out", only_shapes=True)
    gradual = gradual_of(network)
    assert gradual is not None
    gradual.evidence = None
    assert PRUNING.leave(network).get_submodule("second").weight.shape == (3, 2, 1, 1)


@pytest.mark.parametrize("gradual", [False, True])
def test_a_budget_that_comes_down_to_nothing_changes_nothing(gradual: bool) -> None:
    """Not even by going back to earlier weights; and the network can be copied, as for a rung."""
    network = Small()
    early = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    options = Options([HIDDEN], evidence=replace(evidence_of(network), early=early), gradual=gradual)
    found = copy.deepcopy(PRUNING.apply(copy.deepcopy(network), Prune({}), options))
    assert all(torch.equal(found.state_dict()[name], value) for name, value in network.state_dict().items())
    assert len(found.state_dict()) == len(early)


def test_what_is_zero_follows_the_marks_that_are_loaded() -> None:
    """As many channels, and others."""
    network = begun("l1")
    PRUNING.before_step(network, 1.0)
    gradual = gradual_of(network)
    assert gradual is not None
    marked = gradual.gone(HIDDEN)
    before, others = marked.clone(), marked.roll(1)
    network.load_state_dict({**network.state_dict(), "gradual_pruning.gone0": others})
    shaken(network, 0)
    PRUNING.averaged(network)
    assert zeros(network) == others.tolist() != before.tolist()
