"""Whatever step a plan asks for: its training can be killed anywhere and goes on to the same network and plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from step_examples import ARCHITECTURE, CLASSES, EXAMPLES, together
from torch import Tensor
from trainings import Killed, recipe_of

from compressors.pipeline import STEPS
from compressors.plan import CompressionPlan
from compressors.steps import ordered
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.study import Compression
from nas.training.augmentation import Feed
from nas.training.pipeline import Trained, TrainingPipeline
from search_spaces.network import build_network

pytestmark = pytest.mark.usefixtures("checkpoint_every_epoch")

EPOCHS, STEPS_PER_EPOCH = 6, 3
WITHOUT_TRAINING = ("calibrated", "dynamic")
WHOLE = together(EXAMPLES[name].plan for name in STEPS if name not in WITHOUT_TRAINING)
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "at once": {},
    "little by little": {"pruning_schedule": "iterative"},
    "back to early weights": {"rewind": 0.5},
}


def trained(
    checkpoint: Path, plan: CompressionPlan, compression: dict[str, Any], *, limit: int | None = None
) -> Trained:
    """Killed at the batch after `limit`."""
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8), random.integers(0, CLASSES, 48))
    feed = Feed.of(images, torch.device("cpu"), batch_size=16, seed=5)
    candidate = Candidate(architecture=ARCHITECTURE, plan=plan)
    recipe = recipe_of(epochs=EPOCHS, optimizer="adamw")
    own = TrainingPipeline(recipe, candidate, feed, EPOCHS, checkpoint, compression=Compression(**compression))
    batches = iter(range(10**6) if limit is None else range(limit))

    def give_way() -> None:
        if next(batches, None) is None:
            raise Killed

    return own.fit(build_network(ARCHITECTURE, CLASSES, seed=5), give_way)


def state_of(result: Trained) -> dict[str, Tensor]:
    return result.network.cpu().eval().state_dict()


def check_killed(folder: Path, plan: CompressionPlan, compression: dict[str, Any]) -> None:
    whole = trained(folder / "whole.pt", plan, compression)
    assert whole.epochs == EPOCHS
    expected = state_of(whole)
    total = EPOCHS * STEPS_PER_EPOCH
    for stop in (total // 2, total - 1):
        with pytest.raises(Killed):
            trained(folder / f"{stop}.pt", plan, compression, limit=stop)
        again = trained(folder / f"{stop}.pt", plan, compression)
        assert again.plan == whole.plan
        found = state_of(again)
        assert list(found) == list(expected)
        assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    model = emit(whole.network, FileHeader(1, 8, tuple("abcd")))
    resulted = Candidate(architecture=ARCHITECTURE, plan=plan).resulting(whole.plan)
    assert read_costs(model).parameters == resulted.parameters(CLASSES)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_survives_being_killed(tmp_path: Path, name: str) -> None:
    check_killed(tmp_path, EXAMPLES[name].plan, {})


@pytest.mark.parametrize("how", COMPRESSIONS)
def test_all_of_them_do_together(tmp_path: Path, how: str) -> None:
    names = [name for name in STEPS if name not in WITHOUT_TRAINING]
    assert list(ordered(names)) == names
    check_killed(tmp_path, WHOLE, COMPRESSIONS[how])


BY_WEIGHTS = {
    "pruned": {"steps": {"pruned": {"network": {"ratio": 0.5}}}},
    "masked": {"steps": {"masked": {"network": {"ratio": 0.5}}}},
    "low_rank": {"steps": {"low_rank": {"stage2.block1.expand": {"method": "svd", "energy": 0.5}}}},
}


@pytest.mark.parametrize("name", BY_WEIGHTS)
def test_what_weights_decided_is_not_decided_again(tmp_path: Path, name: str) -> None:
    """The plan says what resulted, and nothing in it depends on weights any more."""
    plan = CompressionPlan.model_validate(BY_WEIGHTS[name])
    check_killed(tmp_path, plan, {})
    result = trained(tmp_path / "again.pt", plan, {})
    assert result.plan != plan
    assert not Candidate(architecture=ARCHITECTURE, plan=plan).resulting(result.plan).depends_on_weights


ALL_BY_WEIGHTS = CompressionPlan.model_validate(
    {
        "formats": {"stage2.block1.project": "int4", "head.conv": "codebook3"},
        "steps": {
            "activations_removed": {"stage2.block1": True},
            "low_rank": {"stage2.block1.project": {"method": "svd", "energy": 0.7}},
            "pruned": {"network": {"ratio": 0.3, "grid": 4}},
            "masked": {"network": {"ratio": 0.5}},
        },
    }
)


@pytest.mark.parametrize(
    "how", [{}, {"pruning_schedule": "iterative", "importance": "taylor"}, {"importance": "momentum"}]
)
def test_all_that_weights_decide_goes_together(tmp_path: Path, how: dict[str, Any]) -> None:
    """On one merged layer: its rank, then its channels, then its zeros."""
    check_killed(tmp_path, ALL_BY_WEIGHTS, how)
