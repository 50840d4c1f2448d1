"""A training with masks: zeros stay to the end, in whatever is shipped, and a death in the middle changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import ARCHITECTURE, LAYERS
from torch import Tensor, nn
from trainings import Killed, recipe_of

import compressors.masking.step
import compressors.pruning.step
from compressors.formats import WeightFormat
from compressors.masking.layers import masked_layers
from compressors.plan import CompressionPlan
from compressors.quantization.modules import QuantizedLayer
from compressors.requests.masked import asked
from compressors.rewinding import rewind
from nas.candidates.candidate import Candidate
from nas.candidates.zeros import zeros_in
from nas.data import Images
from nas.study import Compression
from nas.training.augmentation import Feed
from nas.training.pipeline import Trained, TrainingPipeline
from nas.training.preview import preview
from nas.training.reporting import Look
from search_spaces.network import build_network

pytestmark = pytest.mark.usefixtures("checkpoint_every_epoch")

STEPS, EPOCHS = 3, 5
RATIOS = {name: {"ratio": 0.5} for name in LAYERS}
MIXED: dict[str, WeightFormat] = {name: "int4" if i % 2 else "int8" for i, name in enumerate(LAYERS)}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {  # plan, recipe, section `compression`
    "floats": ({"steps": {"masked": RATIOS}}, {"optimizer": "adamw"}, {}),
    "codes": ({"steps": {"masked": RATIOS}, "formats": MIXED}, {"ema": 0.9, "batch_norm": "live"}, {}),
    "one budget": (
        {"steps": {"masked": {"network": {"ratio": 0.6, "by": "sensitivity"}}}, "formats": MIXED},
        {"ema": 0.9},
        {},
    ),
    "growing": ({"steps": {"masked": RATIOS}, "formats": MIXED}, {"ema": 0.9}, {"pruning_schedule": "iterative"}),
    "pruned too": (
        {"steps": {"masked": {"stage2.block1.expand": {"threshold": 0.1}}}, "kept": {"stage1.block1.inner": 8}},
        {},
        {"rewind": 0.5},
    ),
    "tickets": ({"steps": {"masked": RATIOS}}, {}, {"rewind": 0.5}),
    "tickets of fewer channels": (
        {"steps": {"masked": RATIOS}, "kept": {"stage1.block1.inner": 8}},
        {},
        {"rewind": 0.5},
    ),
}


def pipeline(checkpoint: Path, case: str, **more: Any) -> TrainingPipeline:
    plan, recipe, compression = CASES[case]
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8), random.integers(0, 10, 48))
    feed = Feed.of(images, torch.device("cpu"), batch_size=16, seed=5)
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan.model_validate(plan))
    section = Compression.model_validate(compression)
    return TrainingPipeline(recipe_of(**recipe), candidate, feed, EPOCHS, checkpoint, compression=section, **more)


def fit(own: TrainingPipeline, limit: int | None = None) -> Trained:
    left = iter(range(10**9 if limit is None else limit))

    def give_way() -> None:
        if next(left, None) is None:
            raise Killed

    return own.fit(build_network(ARCHITECTURE, 10, seed=5), give_way)


def weights(network: nn.Module) -> dict[str, Tensor]:
    layers = {name: network.get_submodule(name) for name in LAYERS}
    return {n: l.quantized()[0] if isinstance(l, QuantizedLayer) else l.weight for n, l in layers.items()}  # noqa: E741


@pytest.mark.parametrize("case", sorted(CASES))
def test_zeros_stay_and_a_death_changes_nothing(tmp_path: Path, case: str) -> None:
    own = pipeline(tmp_path / "whole.pt", case)
    trained = fit(own)
    record = asked(trained.plan)
    assert record is not None
    assert not record.is_global
    resulting = own.candidate.resulting(trained.plan)
    zeros = {layer.name: zeros_in(layer, record) for layer in resulting.layers(10)}
    assert [int((~mask).sum()) for _, mask in masked_layers(trained.network)] == [n for n in zeros.values() if n]
    for name, weight in weights(trained.network).items():
        assert int((weight == 0).sum()) >= zeros[name]
    if case == "one budget":
        assert sum(zeros.values()) == round(0.6 * sum(layer.weight_count for layer in resulting.layers(10)))
    assert bool(trained.resulted_json(own.candidate.plan)) == own.candidate.depends_on_weights
    checkpoint = tmp_path / "killed.pt"
    with pytest.raises(Killed):
        fit(pipeline(checkpoint, case), 13 if own.candidate.plan.formats else 10)
    continued = fit(pipeline(checkpoint, case))
    assert continued.plan == trained.plan
    states = trained.network.state_dict(), continued.network.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_survives_twice_goes_back_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels are cut first: of a layer that lost some, masks go back to what is left of its early weights."""
    seen = list[dict[str, Tensor]]()

    def spy(network: nn.Module, early: dict[str, Tensor]) -> None:
        seen.append(dict(early))
        rewind(network, early)

    for step in (compressors.pruning.step, compressors.masking.step):
        monkeypatch.setattr(step, "rewind", spy)
    fit(pipeline(tmp_path / "a.pt", "tickets of fewer channels"))
    whole, left = seen
    assert torch.equal(left["stem.conv.weight"], whole["stem.conv.weight"])
    cut = "stage1.block1.expand.weight"
    assert (len(whole[cut]), len(left[cut])) == (16, 8)
    assert all(any(torch.equal(row, early) for early in whole[cut]) for row in left[cut])


@pytest.mark.parametrize("case", ["growing", "one budget"])
def test_a_copy_at_a_rung_has_all_its_zeros(tmp_path: Path, case: str) -> None:
    found: list[float] = []

    def look(share: float, epochs: float, snapshot: Any) -> Any:
        network = preview(snapshot, lambda: None)
        zeros = sum(int((~mask).sum()) for _, mask in masked_layers(network))
        found.append(zeros / sum(layer.weight_count for layer in ARCHITECTURE.layers(10)))
        return Look({}, 1.0)

    fit(pipeline(tmp_path / "a.pt", case, rungs=(0.4, 0.7), look=look))
    assert found == pytest.approx([0.5 if case == "growing" else 0.6] * 2, abs=0.005)
