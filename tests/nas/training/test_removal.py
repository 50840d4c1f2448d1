"""Removal within a training: stages of its own, continued after any death to the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import Killed, recipe_of

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.training.augmentation import Feed
from nas.training.pipeline import TrainingPipeline
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import FusedInvertedResidualConfig, InvertedResidualConfig
from search_spaces.network import build_network

pytestmark = pytest.mark.usefixtures("checkpoint_every_epoch")

EPOCHS, STEPS = 6, 3
FUSED = FusedInvertedResidualConfig(kind="fused_inverted_residual", kernel=3, expansion=4)
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=1, blocks=(FUSED, InvertedResidualConfig(kernel=3, expansion=2))),),
    head=None,
)
PLAN = CompressionPlan(
    kept={"stem.width": 4},
    formats={"stage1.block1.project": "int8", "classifier": "int8"},
    steps={"blocks_removed": {"stage1.block2": True}, "activations_removed": {"stage1.block1": True}},
)
SHARES = {"dense": 2 / 6, "blocks_removed": 1 / 6, "activations_removed": 1 / 6, "pruned": 1 / 6, "quantized": 1 / 6}


def pipeline(checkpoint: Path) -> TrainingPipeline:
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8), random.integers(0, 4, 48))
    feed = Feed.of(images, torch.device("cpu"), batch_size=16, seed=5)
    recipe = recipe_of(epochs=EPOCHS, shares=SHARES, ema=0.5)
    candidate = Candidate.from_json(Candidate.model_construct(architecture=ARCHITECTURE, plan=PLAN).to_json())
    return TrainingPipeline(recipe, candidate, feed, EPOCHS, checkpoint)


def killing(after: int | None) -> Callable[[], None]:
    done: list[int] = []

    def give_way() -> None:
        if len(done) == after:
            raise Killed
        done.append(1)

    return give_way


def fit(own: TrainingPipeline, after: int | None = None) -> nn.Module:
    network = build_network(ARCHITECTURE, 4, seed=5)
    return own.fit(network.to(memory_format=torch.channels_last), killing(after)).network  # type: ignore[call-overload]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_the_stages_are_those_asked_for(tmp_path: Path) -> None:
    stages = pipeline(tmp_path / "c").stages
    assert [stage.name for stage in stages] == list(SHARES)
    assert [stage.steps for stage in stages] == [2 * STEPS, STEPS, STEPS, STEPS, STEPS]


def test_the_trained_network_is_as_the_records_say(tmp_path: Path) -> None:
    own = pipeline(tmp_path / "c")
    network = fit(own)
    layers = {layer.name: layer for layer in own.candidate.layers(4)}
    assert list(layers) == ["stem.conv", "stage1.block1.project", "classifier"]
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "stem.conv.weight": (4, 1, 3, 3),
        "stage1.block1.project.layer.weight": (4, 4, 3, 3),
        "classifier.layer.weight": (4, 4),
    }


def test_killed_in_any_stage_it_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    straight = fit(pipeline(tmp_path / "straight")).state_dict()
    for after in (2 * STEPS + 1, 3 * STEPS, 4 * STEPS + 2, 5 * STEPS + 1):
        checkpoint = tmp_path / f"killed-{after}"
        with pytest.raises(Killed):
            fit(pipeline(checkpoint), after)
        assert same(fit(pipeline(checkpoint)).state_dict(), straight)
