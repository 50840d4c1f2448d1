"""A network out of its artifact folder: with the weights it was shipped with, whatever became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import different, evaluated, make_study
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compressors.formats import FORMATS
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.quantization.modules import QuantizedLayer
from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.records import State
from nas.restoring import layer_values, restored, shape_plan, trained_candidate
from nas.run_folder.paths import write_evaluation
from nas.shipping import stored_weights
from nas.tasks import Task
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import FusedInvertedResidualConfig, InvertedResidualConfig, ShuffleConfig
from search_spaces.network import build_network

torch.set_num_threads(1)

FUSED = FusedInvertedResidualConfig(kind="fused_inverted_residual", kernel=3, expansion=2)
MOBILE = InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True)
SHUFFLE = ShuffleConfig(kind="shuffle", kernel=3, expansion=1)
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(FUSED, MOBILE)),
        StageConfig(width=16, stride=2, blocks=(MOBILE, SHUFFLE)),
    ),
    head=HeadConfig(width=16),
)
PLANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pruned": {"kept": {"stage1.block2.inner": 8, "stem.width": 4}},
    "removed": {"steps": {"blocks_removed": {"stage1.block2": True}, "activations_removed": {"stage1.block1": True}}},
    "int8": {"formats": {layer.name: "int8" for layer in ARCHITECTURE.layers(10)}},
    "mixed": {"kept": {"stage1.block1.inner": 8}, "formats": {"stem.conv": "int8", "stage2.block1.project": "int3"}},
}


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(plan: dict[str, Any]) -> tuple[Candidate, nn.Module]:
    """A candidate, and a network as shipped, with batch norms and biases that are not trivial."""
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan.model_validate(plan))
    network = build_network(ARCHITECTURE, 10, seed=3)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    compressed = compress(network, candidate.plan, Options(groups=candidate.groups()), [images()])
    return candidate, compressed.eval()


@pytest.mark.parametrize("name", ["plain", "pruned", "removed"])
def test_a_float_network_is_the_same(name: str, tmp_path: Path) -> None:
    candidate, network = trained(PLANS[name])
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    assert torch.equal(again(images()), network(images()))


def test_what_the_architecture_tells_need_not_be_stored(tmp_path: Path) -> None:
    """Which channels a shuffle unit selects is in no state dict, as a teacher's weights are kept."""
    candidate, network = trained(PLANS["plain"])
    kept = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    assert kept.keys() < stored_weights(network).keys()
    save_file(kept, tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    assert torch.equal(again(images()), network(images()))


MASKED = {"steps": {"masked": {layer.name: {"ratio": 0.5} for layer in ARCHITECTURE.layers(10)}}}
ALL_INTEGER = {
    name: {"formats": {layer.name: name for layer in ARCHITECTURE.layers(10)}}
    for name, fmt in FORMATS.items()
    if not fmt.is_float
}
PLANS |= ALL_INTEGER | {f"{name}, masked": {**plan, **MASKED} for name, plan in ALL_INTEGER.items()}


@pytest.mark.parametrize("name", [*ALL_INTEGER, *(f"{name}, masked" for name in ALL_INTEGER)])
def test_codes_of_every_format(name: str, tmp_path: Path) -> None:
    candidate, network = trained(PLANS[name])
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    layers = {name: m for name, m in network.named_modules() if isinstance(m, QuantizedLayer)}
    for path, layer in layers.items():
        assert torch.allclose(again.get_submodule(path).weight, layer.quantized()[0], rtol=1e-5, atol=1e-7), path
    assert len(layers) == len(candidate.layers(10))


@pytest.mark.parametrize("name", ["int8", "mixed"])
def test_codes_become_the_values_they_stand_for(name: str, tmp_path: Path) -> None:
    candidate, network = trained(PLANS[name])
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    layers = {name: m for name, m in network.named_modules() if isinstance(m, QuantizedLayer)}
    assert layers.keys() == candidate.plan.formats.keys()
    for path, layer in layers.items():
        weight, bias = layer.quantized()
        assert torch.allclose(again.get_submodule(path).weight, weight, rtol=1e-6, atol=0)
        assert torch.allclose(again.get_submodule(path).bias, bias, rtol=1e-5, atol=1e-7)
    expected, found = network(images()), again(images())
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())  # activations are not rounded


def test_zero_points_and_codebooks() -> None:
    random = np.random.default_rng(0)
    codes, scales = random.integers(0, 4, (3, 2, 3, 3)), random.uniform(0.1, 1, 3)
    book, zeros = random.integers(-9, 9, 4), random.integers(-5, 5, 3)
    stored = {
        "a.b.codes": torch.from_numpy(codes.astype(np.int8)), "a.b.scales": torch.from_numpy(scales),
        "a.b.bias_codes": torch.tensor([1, -2, 3], dtype=torch.int32), "a.b.input_scale": torch.tensor(0.5),
        "a.b.codebook": torch.from_numpy(book.astype(np.int8)),
        "a.b.zero_points": torch.from_numpy(zeros.astype(np.int8)),
        "a.codes": torch.zeros(1), "a.b.c.weight": torch.zeros(1),
    }  # fmt: skip
    found = layer_values("a.b", stored)
    expected = (book[codes] - zeros[:, None, None, None]) * scales[:, None, None, None]
    np.testing.assert_allclose(found["weight"].numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(found["bias"].numpy(), [0.5, -1, 1.5] * scales, rtol=1e-6)


def test_a_dynamic_layer_has_the_weight_that_its_codes_stand_for(tmp_path: Path) -> None:
    candidate, network = trained({"formats": {"classifier": "int8"}, "steps": {"dynamic": {"network": True}}})
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again, layer = restored(candidate, tmp_path / "w.safetensors", 10), network.get_submodule("classifier")
    assert torch.allclose(again.get_submodule("classifier").weight, layer.weight, rtol=1e-6, atol=0)
    assert torch.equal(again.get_submodule("classifier").bias, layer.bias)


def test_what_is_not_stored_is_named(tmp_path: Path) -> None:
    candidate, network = trained(PLANS["plain"])
    file = tmp_path / "w.safetensors"
    save_file(stored_weights(network), file)
    smaller = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(kept={"stage1.block2.inner": 8}))
    with pytest.raises(
        InputError, match=r"expected stage1\.block2\.expand\.weight of shape \(8, 8, 1, 1\), got one of"
    ):
        restored(smaller, file, 10)
    save_file({k: v for k, v in load_file(file).items() if k != "classifier.bias"}, file)
    with pytest.raises(InputError, match=r"expected classifier\.bias of shape \(10,\), got none"):
        restored(candidate, file, 10)
    file.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="expected the weights of a network"):
        restored(candidate, file, 10)


def test_only_what_changes_shapes_is_kept_of_a_plan() -> None:
    plan = CompressionPlan.model_validate({**PLANS["mixed"], **PLANS["removed"]})
    assert shape_plan(plan) == CompressionPlan(kept=plan.kept, steps=plan.steps)


def artifact(tmp_path: Path, state: State, **fields: Any) -> Path:
    candidate = different(1)[0]
    task = Task(3, candidate, "search", 1, 8, tmp_path)
    write_evaluation(tmp_path, evaluated(task, make_study(), state, **fields))
    (tmp_path / "candidate.json").write_text(json.dumps(candidate.to_json()))
    (tmp_path / "weights.safetensors").write_bytes(b"")
    return tmp_path


def test_what_a_request_came_down_to_is_what_was_trained(tmp_path: Path) -> None:
    folder = artifact(tmp_path, State.COMPLETE)
    assert trained_candidate(folder) == different(1)[0]
    folder = artifact(tmp_path, State.COMPLETE, resulted={"kept": {"stem.width": 5}})
    assert trained_candidate(folder).plan == CompressionPlan(kept={"stem.width": 5})


@pytest.mark.parametrize("state", [State.FAILED, State.PRUNED])
def test_an_unfinished_network_is_refused(tmp_path: Path, state: State) -> None:
    with pytest.raises(InputError, match="expected a finished network"):
        trained_candidate(artifact(tmp_path, state))


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    folder = artifact(tmp_path, State.COMPLETE)
    (folder / "candidate.json").write_text("{}")
    with pytest.raises(InputError, match="expected the record of a candidate"):
        trained_candidate(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="expected a finished network"):
        trained_candidate(folder)
