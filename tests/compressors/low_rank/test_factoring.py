"""What may be asked of a layer: one way to choose ranks, the ranks of a shape, and one clear line for the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.low_rank.factoring import Factoring, factoring_of
from compressors.low_rank.factors import METHODS, Shape

CONV = Shape(16, 24, (3, 3))


@pytest.mark.parametrize(
    ("given_keys", "words"),
    [
        ({"method": "svd"}, "expected one of rank, ratio, energy, vbmf, got none"),
        ({"method": "svd", "rank": 2, "ratio": 0.5}, "expected one of rank, ratio, energy, vbmf, got rank and ratio"),
        ({"method": "svd", "ratio": 1.0}, "ratio: Input should be less than 1"),
        ({"method": "svd", "ratio": 0.0}, "ratio: Input should be greater than 0"),
        ({"method": "svd", "energy": 1.5}, "energy: Input should be less than 1"),
        ({"method": "svd", "rank": 0}, "rank"),
        ({"method": "svd", "rank": [2, 3]}, "rank: expected one number for svd, got [2, 3]"),
        ({"method": "svd", "rank": True}, "rank"),
        ({"method": "svd", "vbmf": False}, "vbmf: Input should be True"),
        ({"method": "cp", "energy": 0.9}, "energy: expected rank or ratio for cp, which has no singular values"),
        ({"method": "cp", "vbmf": True}, "vbmf: expected rank or ratio for cp, which has no singular values"),
        ({"method": "qr", "rank": 2}, "method: Input should be 'svd', 'spatial_svd', 'tucker' or 'cp'"),
        ({"method": "svd", "ratio": 0.5, "settled": True}, "settled: expected a rank beside it, got ratio"),
        ({"method": "svd", "rank": 2, "more": 1}, "more: Extra inputs are not permitted"),
        (0.5, "Input should be a valid dictionary"),
    ],
)
def test_what_is_refused_names_layer_and_key(given_keys: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"^low_rank of head\.conv: ") as caught:
        factoring_of("head.conv", given_keys)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_keys", "words"),
    [
        ({"method": "svd", "ratio": 0.25}, "svd ratio 0.25"),
        ({"method": "spatial_svd", "energy": 0.9}, "spatial_svd energy 0.9"),
        ({"method": "tucker", "rank": [4, 6]}, "tucker rank 4+6"),
        ({"method": "tucker", "vbmf": True}, "tucker vbmf"),
        ({"method": "cp", "rank": 5}, "cp rank 5"),
    ],
)
def test_a_decision_survives_json_and_has_a_name(given_keys: dict[str, Any], words: str) -> None:
    found = factoring_of("a", json.loads(json.dumps(given_keys)))
    assert found.decision() == given_keys
    assert factoring_of("a", found.decision()) == found
    assert str(found) == words


def test_ranks_that_are_written_out() -> None:
    assert Factoring(method="svd", rank=5).ranks_of(CONV) == (5,)
    assert Factoring(method="tucker", rank=5).ranks_of(CONV) == (5, 5)
    assert Factoring(method="tucker", rank=(40, 5)).ranks_of(CONV) == (16, 5)  # there are no more inputs
    assert Factoring(method="svd", rank=24).ranks_of(CONV) is None  # full rank: more parameters than the layer


def test_what_does_not_fit_is_left_alone() -> None:
    assert Factoring(method="tucker", ratio=0.5).ranks_of(Shape(64, 64)) is None
    assert Factoring(method="svd", rank=1).ranks_of(Shape(8, 8, (3, 3), is_depthwise=True)) is None
    assert Factoring(method="svd", rank=1).factors_of(Shape(8, 8, (3, 3), is_depthwise=True))[0].is_depthwise


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(METHODS)),
    st.builds(Shape, st.integers(1, 48), st.integers(1, 48), st.sampled_from([(1, 1), (3, 3), (5, 5)])),
    st.floats(0.01, 0.99),
)
def test_a_ratio_leaves_at_most_the_rest_unless_even_rank_one_has_more(name: str, shape: Shape, ratio: float) -> None:
    asked = Factoring(method=name, ratio=ratio)
    ranks, method = asked.ranks_of(shape), METHODS[name]
    if ranks is None:
        assert not method.fits(shape) or method.parameters(shape, method.ladder(shape, 1)) >= shape.parameters
    elif max(ranks) > 1:
        assert sum(factor.parameters for factor in asked.factors_of(shape)) <= (1 - ratio) * shape.parameters
    else:
        assert method.parameters(shape, ranks) < shape.parameters


def test_ranks_that_depend_on_weights_have_no_shape_yet() -> None:
    asked = Factoring(method="svd", energy=0.9)
    assert asked.depends_on_weights
    assert not Factoring(method="svd", rank=2).depends_on_weights
    with pytest.raises(ValueError, match=r"svd energy 0\.9: expected ranks that a shape tells"):
        asked.ranks_of(CONV)


def test_settled_ranks_are_those_whatever_the_shape() -> None:
    """A layer that was factored and then pruned keeps its factors, even where the whole layer would be smaller now."""
    settled = Factoring(method="svd", energy=0.9).at((6,), settled=True)
    assert settled.ranks_of(Shape(4, 4)) == (6,)
    assert Factoring(method="svd", rank=6).ranks_of(Shape(4, 4)) is None
    assert settled.decision() == {"method": "svd", "rank": 6, "settled": True}
    assert Factoring(method="tucker", vbmf=True).least().decision() == {"method": "tucker", "rank": [1, 1]}
