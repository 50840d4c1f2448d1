"""Low rank in a training: its own stage, killed and continued, ranks that trained weights tell, and rungs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import Killed, recipe_of

import nas.training.stage_run
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.study import Compression
from nas.training.augmentation import Augmentation, Feed
from nas.training.pipeline import Trained, TrainingPipeline
from nas.training.preview import preview
from nas.training.reporting import Look, Snapshot
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import ResidualConfig
from search_spaces.network import build_network

torch.set_num_threads(1)

CLASSES, EPOCHS = 4, 6
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=16, stride=2, blocks=(ResidualConfig(kind="residual", kernel=3, expansion=1),)),),
    head=None,
)
ENERGY = {
    "stage1.block1.conv1": {"method": "tucker", "energy": 0.7},
    "stage1.block1.conv2": {"method": "cp", "rank": 5},
}


def candidate(kept: dict[str, int] | None = None, formats: Any = None) -> Candidate:
    plan = CompressionPlan(kept=kept or {}, formats=formats or {}, steps={"low_rank": ENERGY})
    return Candidate(architecture=ARCHITECTURE, plan=plan)


def pipeline(checkpoint: Path, given: Candidate, **fields: Any) -> TrainingPipeline:
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (32, 1, 8, 8), dtype=np.uint8), random.integers(0, CLASSES, 32))
    feed = Feed.of(images, torch.device("cpu"), batch_size=16, seed=5, augmentation=Augmentation())
    return TrainingPipeline(recipe_of(epochs=EPOCHS), given, feed, EPOCHS, checkpoint, **fields)


def fit(own: TrainingPipeline, give_way: Callable[[], None] = lambda: None) -> Trained:
    return own.fit(build_network(ARCHITECTURE, CLASSES, seed=5), give_way)


def killed_after(batches: int) -> Callable[[], None]:
    left = [batches]

    def give_way() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return give_way


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in network.named_parameters()
        if "block1.conv" in name and name.endswith("weight")
    }


def state(network: nn.Module) -> dict[str, Tensor]:
    return network.state_dict()


def test_stages_are_those_of_the_table(tmp_path: Path) -> None:
    own = pipeline(tmp_path / "c.pt", candidate(kept={"stage1.block1.inner": 8}, formats={"classifier": "int8"}))
    assert [stage.name for stage in own.stages] == ["dense", "low_rank", "pruned", "quantized"]
    assert all(stage.steps for stage in own.stages)


@pytest.mark.parametrize("stop", [5, 8, 10])
def test_killed_and_continued_ends_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stop: int) -> None:
    """In the dense stage, in that of the factors, and when channels of the factors are cut as well."""
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    given = candidate(kept={"stage1.block1.inner": 8}, formats={"stage1.block1.conv1": "int8"})
    straight = fit(pipeline(tmp_path / "straight.pt", given))
    with pytest.raises(Killed):
        fit(pipeline(tmp_path / "killed.pt", given), killed_after(stop))
    continued = fit(pipeline(tmp_path / "killed.pt", given))
    assert continued.plan == straight.plan != given.plan
    one, other = state(straight.network), state(continued.network)
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_early_weights_are_factored_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pruning sets the factors back to those of the weights as they were; killed in the stage between, and without."""
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    given = candidate(kept={"stage1.block1.inner": 8})
    for rewind in (None, 0.25):
        fields = {"compression": Compression.model_validate({"rewind": rewind})}
        straight = fit(pipeline(tmp_path / f"straight{rewind}.pt", given, **fields))
        with pytest.raises(Killed):
            fit(pipeline(tmp_path / f"killed{rewind}.pt", given, **fields), killed_after(8))
        continued = fit(pipeline(tmp_path / f"killed{rewind}.pt", given, **fields))
        one, other = state(straight.network), state(continued.network)
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert shapes(straight.network)["stage1.block1.conv1.2.weight"][0] == 8


def test_what_resulted_is_what_the_network_has(tmp_path: Path) -> None:
    given = candidate()
    trained = fit(pipeline(tmp_path / "c.pt", given))
    decided = trained.plan.steps["low_rank"]["stage1.block1.conv1"]
    assert isinstance(decided, dict)
    assert decided["settled"] is True
    (first, last) = decided["rank"]
    found = shapes(trained.network)
    assert found["stage1.block1.conv1.1.weight"] == (last, first, 3, 3)
    shipped = given.resulting(trained.plan)
    total = sum(value.numel() for value in trained.network.parameters())
    assert total == shipped.parameters(CLASSES)
    assert given.least(CLASSES).parameters(CLASSES) <= total < given.parameters(CLASSES)


def test_a_rung_factors_a_copy_and_leaves_the_training_alone(tmp_path: Path) -> None:
    seen: list[dict[str, tuple[int, ...]]] = []

    def look(share: float, epochs: float, snapshot: Snapshot) -> Look:
        seen.append(shapes(preview(snapshot, lambda: None)))
        return Look({}, 0.0)

    straight = fit(pipeline(tmp_path / "straight.pt", candidate()))
    looked = fit(pipeline(tmp_path / "looked.pt", candidate(), rungs=(0.4,), look=look))
    assert [any(name.endswith("conv1.2.weight") for name in names) for names in seen] == [True]
    one, other = state(straight.network), state(looked.network)
    assert all(torch.equal(one[name], other[name]) for name in one)
