"""Going back to earlier weights."""

from __future__ import annotations

import copy

import pytest
import torch
from evidence import HIDDEN, Small, evidence_of
from pair import Pair

from compressors.evidence import Evidence
from compressors.pipeline import IMPORTANCES, Options, compress
from compressors.plan import CompressionPlan
from compressors.rewinding import rewind

torch.set_num_threads(1)


def test_every_value_is_that_of_the_earlier_network() -> None:
    network, early = Small(0), Small(1)
    kept = copy.deepcopy(early.state_dict())
    rewind(network, early.state_dict())
    network.first.weight.data += 1.0
    assert all(torch.equal(kept[name], value) for name, value in early.state_dict().items())
    network.first.weight.data -= 1.0
    assert all(torch.allclose(kept[name], value) for name, value in network.state_dict().items())


def test_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rewind: expected weights of the same network, got first\.weight"):
        rewind(Small(), {n: t for n, t in Small().state_dict().items() if n != "first.weight"})
    with pytest.raises(ValueError, match=r"rewind: expected first.weight of shape \(5, 2, 1, 1\), got \(3, 2, 1, 1\)"):
        rewind(Small(), Pair().state_dict())


def test_the_trained_network_says_which_channels_stay_and_the_earlier_one_what_they_are() -> None:
    network, early = Small(0), Small(1)
    scores = IMPORTANCES["l2"].score(network, [HIDDEN], None)["hidden"]
    best = torch.topk(scores, 2).indices.sort().values
    assert best.tolist() != torch.topk(IMPORTANCES["l2"].score(early, [HIDDEN], None)["hidden"], 2).indices.tolist()
    given = evidence_of(network)
    options = Options(groups=[HIDDEN], evidence=Evidence(given.batches, early=early.state_dict()))
    found = compress(network, CompressionPlan(kept={"hidden": 2}), options, [images for images, _ in given.batches])
    assert torch.equal(found.get_submodule("second").weight, early.second.weight[:, best])
    assert torch.equal(found.get_submodule("second").bias, early.second.bias)
