"""Which weights become zero: against torch.nn.utils.prune, and against definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from compressors.masking.numerics import count_at_most, kept_mask, shared_out
from compressors.requests.masked import most_zeros

torch.set_num_threads(1)


def weights(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.93])
def test_the_smallest_weights_of_a_layer_go_as_in_torch(ratio: float) -> None:
    layer = nn.Conv2d(5, 7, 3)
    size = layer.weight.detach().abs()
    prune.l1_unstructured(layer, "weight", amount=ratio)
    assert torch.equal(kept_mask(size, round(ratio * size.numel())), layer.weight_mask.bool())


@pytest.mark.parametrize("ratio", [0.2, 0.7])
def test_a_budget_is_shared_out_as_in_torch(ratio: float) -> None:
    """Layers of other sizes and scales, none near its bound."""
    layers = {"a": nn.Conv2d(4, 8, 3), "b": nn.Linear(40, 30), "c": nn.Conv2d(1, 6, 5)}
    layers["b"].weight.data *= 3
    scores = {name: layer.weight.detach().abs() for name, layer in layers.items()}
    total = sum(score.numel() for score in scores.values())
    counts = shared_out(scores, round(ratio * total), {name: score.numel() for name, score in scores.items()})
    prune.global_unstructured([(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=ratio)
    for name, layer in layers.items():
        assert counts[name] == int((layer.weight_mask == 0).sum())
        assert torch.equal(kept_mask(scores[name], counts[name]), layer.weight_mask.bool())


def test_a_layer_of_small_weights_keeps_one_per_channel() -> None:
    scores = {"small": weights(0, 4, 5).abs() * 1e-3, "large": weights(1, 4, 5).abs() + 1}
    most = {name: most_zeros(score.numel(), len(score)) for name, score in scores.items()}
    assert most == {"small": 16, "large": 16}
    assert shared_out(scores, 20, most) == {"small": 16, "large": 4}
    assert shared_out(scores, 40, most) == {"small": 16, "large": 16}


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.data())
def test_no_weight_that_stays_scores_less_than_one_that_goes(scores: list[int], data: st.DataObject) -> None:
    zeros = data.draw(st.integers(0, len(scores)))
    given_scores = torch.tensor(scores)
    mask = kept_mask(given_scores, zeros)
    assert int((~mask).sum()) == zeros
    if 0 < zeros < len(scores):
        assert given_scores[~mask].max() <= given_scores[mask].min()


def test_of_equal_scores_the_first_go() -> None:
    assert kept_mask(torch.zeros(2, 3), 2).tolist() == [[False, False, True], [True, True, True]]


def test_weights_at_the_threshold_count() -> None:
    assert count_at_most(torch.tensor([-0.5, 0.5, 0.6, -0.1]), 0.5) == 3
