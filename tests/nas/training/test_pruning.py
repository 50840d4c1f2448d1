"""Pruning in a training: whatever ranks channels and whenever they go, a training that was killed ends the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import ARCHITECTURE, CLASSES
from torch import Tensor, nn
from trainings import Killed, recipe_of

import compressors.pruning.step
from compressors.plan import CompressionPlan
from compressors.pruning.slimming import scale_sparsity
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.study import Compression
from nas.training.augmentation import Feed
from nas.training.penalties import penalties_of
from nas.training.pipeline import Trained, TrainingPipeline
from nas.training.preview import preview
from nas.training.reporting import Look, Snapshot
from search_spaces.network import build_network

pytestmark = pytest.mark.usefixtures("checkpoint_every_epoch")

torch.set_num_threads(1)

EPOCHS = 4  # of three steps: two dense ones, two pruned
BUDGET = CompressionPlan(steps={"pruned": {"network": {"ratio": 0.25, "grid": 4}}})
COUNTS = CompressionPlan(kept={"stage1.block1.inner": 8, "stage2.block1.inner": 12, "stem.width": 4})
WAYS: dict[str, tuple[CompressionPlan, dict[str, Any], dict[str, Any]]] = {
    "a budget by loss": (BUDGET, {"importance": "taylor"}, {}),
    "a budget by moments, little by little": (
        BUDGET, {"importance": "momentum", "pruning_schedule": "iterative"}, {"optimizer": "adamw"}
    ),
    "little by little, averaged": (COUNTS, {"importance": "saliency", "pruning_schedule": "iterative"}, {"ema": 0.9}),
    "rewound": (COUNTS, {"importance": "l1", "rewind": 0.3}, {"bn_sparsity": 1e-2}),
}  # fmt: skip


def pipeline(folder: Path, way: str, **fields: Any) -> TrainingPipeline:
    plan, compression, training = WAYS[way]
    shares = {"dense": 0.5, "pruned": 0.5, "quantized": 0.0}
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8), random.integers(0, 10, 48))
    return TrainingPipeline(
        recipe_of(epochs=EPOCHS, shares=shares, **training),
        Candidate(architecture=ARCHITECTURE, plan=plan),
        Feed.of(images, torch.device("cpu"), batch_size=16, seed=5),
        EPOCHS,
        folder / "checkpoint.pt",
        compression=Compression(**compression),
        **fields,
    )


def network() -> nn.Module:
    return build_network(ARCHITECTURE, len(CLASSES), seed=5)


def killer(limit: int) -> Callable[[], None]:
    """Kills before the batch of this number."""
    done = iter(range(10_000))

    def give_way() -> None:
        if next(done) == limit:
            raise Killed

    return give_way


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@cache
def straight(way: str) -> Trained:
    """A training that nothing stopped."""
    with tempfile.TemporaryDirectory() as folder:
        return pipeline(Path(folder), way).fit(network(), lambda: None)


@pytest.mark.parametrize("way", WAYS)
def test_killed_anywhere_and_continued_it_ends_the_same(tmp_path: Path, way: str) -> None:
    """In the second epoch of the dense stage, and of the pruned one."""
    whole = straight(way)
    assert whole.plan.kept
    assert not whole.plan.steps
    assert (whole.plan == COUNTS) == (WAYS[way][0] is COUNTS)
    for number in (4, 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(Killed):
            pipeline(folder, way).fit(network(), killer(number))
        continued = pipeline(folder, way).fit(network(), lambda: None)
        assert continued.plan == whole.plan
        assert same(whole.network.state_dict(), continued.network.state_dict()), number


@pytest.mark.parametrize("way", WAYS)
def test_the_network_is_as_its_plan_says(way: str) -> None:
    trained, candidate = straight(way), Candidate(architecture=ARCHITECTURE, plan=WAYS[way][0])
    layers = {layer.name: layer for layer in candidate.resulting(trained.plan).layers(len(CLASSES))}
    for name, layer in layers.items():
        assert trained.network.get_submodule(name).weight.numel() == layer.weight_count, name
    bound = candidate.least(len(CLASSES))
    assert bound.parameters(len(CLASSES)) <= sum(layer.parameters for layer in layers.values())


def test_survivors_go_back_to_their_weights_at_that_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of 0.3 of the six dense steps: the weights that the third step begins with."""
    found: list[dict[str, Tensor]] = []
    monkeypatch.setattr(compressors.pruning.step, "rewind", lambda _, early: found.append(dict(early)))
    pipeline(tmp_path, "rewound").fit(network(), lambda: None)
    built = network()
    (tmp_path / "again").mkdir()
    with pytest.raises(Killed):
        pipeline(tmp_path / "again", "rewound").fit(built, killer(2))
    assert len(found) == 1
    assert same(found[0], dict(built.state_dict()))


def test_a_share_of_nothing_is_the_untrained_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Tensor]] = []
    monkeypatch.setattr(compressors.pruning.step, "rewind", lambda _, early: found.append(dict(early)))
    own = pipeline(tmp_path, "rewound")
    replace(own, compression=own.compression.model_copy(update={"rewind": 0.0})).fit(network(), lambda: None)
    assert same(found[0], dict(network().state_dict()))


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_at_a_rung_has_its_channels_cut(tmp_path: Path, way: str) -> None:
    """In every stage, and the training ends as without rungs."""
    seen: list[dict[str, Tensor]] = []

    def look(_: float, __: float, snapshot: Snapshot) -> Look:
        seen.append(preview(snapshot, lambda: None).state_dict())
        return Look({}, 0.0)

    plain = straight(way)
    looked = pipeline(tmp_path, way, rungs=(0.25, 0.75), look=look).fit(network(), lambda: None)
    assert same(plain.network.state_dict(), looked.network.state_dict())
    assert len(seen) == 2
    for state in (
        seen[1:] if WAYS[way][0] is BUDGET else seen
    ):  # before it is resolved a copy's may come down to another
        assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in plain.network.state_dict().items()}
    total = {name: tensor.numel() for name, tensor in network().state_dict().items() if name.endswith("weight")}
    assert sum(t.numel() for n, t in seen[0].items() if n.endswith("weight")) < sum(total.values())


def test_scales_of_batch_norms_shrink_in_the_dense_stage_only(tmp_path: Path) -> None:
    recipe = pipeline(tmp_path, "rewound").training
    assert penalties_of(recipe, "dense") == [(1e-2, scale_sparsity)]
    assert penalties_of(recipe, "pruned") == penalties_of(replace(recipe, bn_sparsity=0.0), "dense") == []

    def dense(strength: float) -> float:
        folder = tmp_path / str(strength)
        folder.mkdir()
        own = pipeline(folder, "rewound")
        built = network()
        with pytest.raises(Killed):
            replace(own, training=replace(own.training, bn_sparsity=strength)).fit(built, killer(6))
        return float(scale_sparsity(built).detach())

    assert dense(0.5) < dense(0.0) - 1
