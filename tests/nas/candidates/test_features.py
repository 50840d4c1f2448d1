"""Features: what they say of a network, against closed forms and sums over its layers."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from candidates import draw_candidate, draws, freedom
from hypothesis import given
from hypothesis import strategies as st

from compressors.plan import CompressionPlan, WeightFormat
from nas.candidates.candidate import Candidate
from nas.candidates.features import Features
from nas.candidates.sampling import sample
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.spaces import MixedSpace
from search_spaces.trials import Pick

MOBILE = ("inverted_residual",)
BLOCK = InvertedResidualConfig(kernel=5, expansion=2, squeeze_excite=True, activation="hardswish")
TINY = Candidate(
    architecture=Architecture(
        input_size=16,
        input_channels=3,
        stem=StemConfig(width=8, stride=2),
        stages=(
            StageConfig(width=8, stride=1, blocks=(BLOCK,)),
            StageConfig(width=16, stride=2, blocks=(InvertedResidualConfig(kernel=3, expansion=1),)),
        ),
        head=HeadConfig(width=16),
    ),
    plan=CompressionPlan(
        kept={"stage1.block1.inner": 8},
        formats={"stem.conv": "int8", "stage1.block1.depthwise": "int4", "stage2.block1.project": "int2"},
    ),
)


def described(candidate: Candidate, stages: int = 2, kinds: tuple[str, ...] = MOBILE) -> Mapping[str, float]:
    features = Features(stages, kinds)
    return dict(zip(features.names, features(candidate, 10).tolist(), strict=True))


def test_a_tiny_network_by_hand() -> None:
    found = described(TINY)
    layers = {layer.name: layer for layer in TINY.layers(10)}
    assert found["log_parameters"] == pytest.approx(math.log(TINY.parameters(10)))
    assert found["log_macs"] == pytest.approx(math.log(TINY.macs(10)))
    assert found["depth"] == 2
    assert (found["stage1.depth"], found["stage2.depth"]) == (1, 1)
    assert (found["stage1.kernel"], found["stage2.kernel"]) == (5, 3)
    assert (found["stage1.squeeze_excite"], found["stage1.hardswish"], found["stage2.hardswish"]) == (1, 1, 0)
    assert found["stage1.log_expansion"] == pytest.approx(math.log(2))
    assert (found["stage1.pruned"], found["stage2.pruned"], found["pruned"]) == (0.25, 0, 0.25)  # 8 of 16 are left
    float_step = 2.0**-32
    assert found["stem_step"] == 2.0**-8
    assert found["classifier_step"] == float_step
    assert found["stage1.step"] == pytest.approx((2.0**-4 + 4 * float_step) / 5)
    assert found["step"] == pytest.approx(2.0**-8 + 2.0**-4 + 2.0**-2, rel=1e-6)
    # 3x3 at 16 pixels, 5x5 at 8, 3x3 at 8: 2, 8 and 4 pixels beyond the one in the middle
    assert found["log_field"] == pytest.approx(math.log(2 / 16 + 4 / 8 + 2 / 8))
    assert found["log_smallest_stage"] == pytest.approx(
        math.log(sum(layer.parameters for name, layer in layers.items() if name.startswith("stage2")))
    )
    assert (found["share.inverted_residual"], found["inverted_residual-inverted_residual"]) == (1, 1)


def test_three_values_tell_less_than_four() -> None:
    def bits(name: WeightFormat) -> float:
        plan = CompressionPlan(formats={layer.name: name for layer in TINY.layers(10)})
        return described(Candidate(architecture=TINY.architecture, plan=plan))["log2_bits"]

    assert bits("int2") == bits("codebook2") == 1.0
    assert bits("ternary") == pytest.approx(math.log2(math.log2(3)))
    assert bits("binary") == 0.0


def test_a_stage_that_is_missing_is_all_zeros() -> None:
    found = described(TINY, stages=3)
    assert not any(value for name, value in found.items() if name.startswith("stage3."))


def test_more_stages_than_there_is_room_for() -> None:
    with pytest.raises(ValueError, match="at most 1 stages, got 2"):
        described(TINY, stages=1)


@given(draws)
def test_whatever_is_drawn_has_finite_features_that_follow_from_the_network(draw: tuple[str, int, str]) -> None:
    candidate, _ = draw_candidate(*draw)
    again = Candidate.from_json(candidate.to_json())
    features = Features(len(candidate.architecture.stages), MOBILE)
    found = features(candidate, 10)
    assert found.shape == (len(features.names),)
    assert np.isfinite(found).all()
    assert (features(again, 10) == found).all()
    named = dict(zip(features.names, found, strict=True))
    inside = sum(math.expm1(named[f"stage{s}.log_parameters"]) for s in range(1, features.stages + 1))
    outside = sum(layer.parameters for layer in candidate.layers(10) if not layer.name.startswith("stage"))
    assert inside + outside == pytest.approx(candidate.parameters(10))


@given(st.integers(0, 2**32))
def test_kinds_and_how_they_follow_each_other(seed: int) -> None:
    space = MixedSpace.model_validate({"family": "mixed", "preset": "32px"})
    trial: Any = Pick(random.Random(seed).choice)
    candidate = sample(trial, space, freedom("block"), input_channels=3)
    features = Features.of(space)
    found = dict(zip(features.names, features(candidate, 10).tolist(), strict=True))
    kinds = [site.config.kind for site in candidate.architecture.blocks()]
    pairs = Counter(pairwise(["stem", *kinds, "end"]))
    assert {pair: round(found["-".join(pair)] ** 2, 9) for pair in pairs} == dict(pairs)
    assert sum(found[f"share.{kind}"] for kind in features.kinds) == pytest.approx(1)


def test_a_budget_is_seen_as_if_it_were_shared_out_evenly() -> None:
    """Each block would lose half of its channels: a quarter for each of them."""
    candidate = draw_candidate("8px", 0, "block")[0].model_copy(update={"plan": CompressionPlan()})
    asked = CompressionPlan(steps={"pruned": {"network": {"ratio": 0.5}}})
    plain, pruned = (described(candidate.model_copy(update={"plan": p}), 4) for p in (CompressionPlan(), asked))
    assert pruned["pruned"] - plain["pruned"] == pytest.approx(0.25 * len(candidate.architecture.blocks()))
    assert {name for name in plain if plain[name] != pruned[name]} == {"pruned"}
