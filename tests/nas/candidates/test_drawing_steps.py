"""Genes of further steps: one for each scope, and what a plan gets of their choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from nas.candidates.drawing_steps import decision_of, draw_each, draw_one, label_of
from nas.study import Compression
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.parts import Part
from search_spaces.trials import Replay

TINY = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=16, stride=2, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),),
    head=HeadConfig(width=32),
)


@dataclass(frozen=True)
class Rank:
    """A choice with words of its own."""

    share: float

    def __str__(self) -> str:
        return f"rank {self.share:g}"

    def decision(self) -> dict[str, float]:
        return {"rank": self.share}


class Noting(Replay):
    """Answers every gene with its last choice, and notes what it was asked."""

    def __init__(self) -> None:
        self.genes: dict[str, tuple[Any, ...]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.genes[name] = tuple(choices)
        return choices[-1]


def names(part: Part) -> list[str]:
    """All layers but the classifier."""
    return [layer.name for layer in part.layers if layer.kind != "linear"]


ASKED = {
    "network": {"network.rank"},
    "stage": {"stem.rank", "stage1.rank", "head.rank"},
    "block": {"stem.rank", "stage1.block1.rank", "head.rank"},
    "layer": {f"{layer.name}.rank" for layer in TINY.layers(1) if layer.kind != "linear"},
}


@pytest.mark.parametrize("granularity", ASKED)
def test_what_shares_a_scope_shares_a_choice(granularity: Any) -> None:
    trial, compression = Noting(), Compression(granularity=granularity)
    found = draw_each(trial, TINY, compression, key="rank", choices=(None, Rank(0.5)), names=names)
    assert set(trial.genes) == ASKED[granularity]
    assert set(trial.genes.values()) == {("none", "rank 0.5")}
    assert found == {layer.name: {"rank": 0.5} for layer in TINY.layers(1) if layer.kind != "linear"}


def test_nothing_chosen_is_no_decision_and_a_single_choice_is_not_asked_for() -> None:
    trial = Noting()
    assert draw_each(trial, TINY, Compression(), key="rank", choices=(None,), names=names) == {}
    assert draw_one(trial, key="rank", choices=(0.5,)) == {"network": 0.5}
    assert draw_one(trial, key="rank", choices=("none",)) == {}
    assert trial.genes == {}
    assert draw_one(trial, key="rank", choices=(0.0, 0.25)) == {"network": 0.25}
    assert trial.genes == {"network.rank": (0.0, 0.25)}


def test_labels_and_decisions() -> None:
    given = (None, "none", 0, 0.0, False, True, "svd", 0.5, Rank(0.5))
    assert [label_of(one) for one in given] == ["none", "none", 0, 0.0, False, True, "svd", 0.5, "rank 0.5"]
    assert [decision_of(one) for one in given] == [None, None, None, None, None, True, "svd", 0.5, {"rank": 0.5}]
    with pytest.raises(TypeError, match=r"got \{'ratio': 0\.5\}"):
        decision_of({"ratio": 0.5})
