"""Existing networks out of their artifact folders: the record only names them, and what they began with is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import evaluated, make_study
from safetensors.torch import save_file
from torch import Tensor, nn

from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.quantization.modules import QuantizedLayer
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.errors import InputError
from nas.measuring import parity
from nas.records import State
from nas.restoring import restored, trained_candidate
from nas.run_folder.paths import write_evaluation
from nas.runtimes.runtime import FileHeader, runtime_of
from nas.shipping import ship, stored_weights
from nas.study import Target
from nas.tasks import Task
from search_spaces.existing import known
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.building import build_existing
from search_spaces.existing.known import NETWORK_FILE, Known, remember, to_json
from search_spaces.existing.reading import read_network

torch.set_num_threads(1)

CPU = Target(name="cpu")
CLASSES = tuple("abcdefghij")
ASKED = {"base": "mine:joined"}


class Joined(nn.Module):
    """Halves that are worked on apart, joined and normed; a grouped and a depthwise convolution; flattened maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise, self.norm = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.pool, self.gate = nn.MaxPool2d(2), nn.Sigmoid()
        self.hidden, self.fc = nn.Linear(16 * 16, 12, bias=False), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        passed, worked_on = x.chunk(2, 1)
        x = torch.relu(self.norm(torch.cat([passed, self.gate(self.grouped(worked_on))], 1)))
        x = self.pool(torch.relu(self.depthwise(x)))
        logits: Tensor = self.fc(torch.relu(self.hidden(torch.flatten(x, 1))))
        return logits


@pytest.fixture
def architecture() -> ExistingArchitecture:
    torch.manual_seed(0)
    read = read_network(Joined())
    remember(ASKED, Known(read.blueprint, "feedbeef0123"), dict(read.state))
    return ExistingArchitecture(
        base="mine:joined", network=read.blueprint.digest, weights="feedbeef0123", input_size=8, input_channels=1
    )


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(architecture: ExistingArchitecture, plan: dict[str, Any]) -> tuple[Candidate, nn.Module]:
    """A candidate, and a network as shipped, with batch norms that are not trivial."""
    candidate = Candidate(architecture=architecture, plan=CompressionPlan.model_validate(plan))
    network = build_existing(architecture, 10, seed=3)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    return candidate, compress(network, candidate.plan, Options(groups=candidate.groups()), [images()]).eval()


def plan_of(architecture: ExistingArchitecture, *, ratio: float, fmt: str) -> dict[str, Any]:
    kept = {group.name: max(1, round(group.width * (1 - ratio))) for group in architecture.all_groups()}
    formats = {layer.name: fmt for layer in architecture.layers(10)}
    return {"kept": kept if ratio else {}, "formats": {} if fmt == "fp32" else formats}


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_a_float_network_is_the_same(ratio: float, architecture: ExistingArchitecture, tmp_path: Path) -> None:
    candidate, network = trained(architecture, plan_of(architecture, ratio=ratio, fmt="fp32"))
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    assert torch.equal(again(images()), network(images()))


@pytest.mark.parametrize("fmt", ["int8", "int4"])
def test_codes_become_the_values_they_stand_for(fmt: str, architecture: ExistingArchitecture, tmp_path: Path) -> None:
    candidate, network = trained(architecture, plan_of(architecture, ratio=0.5, fmt=fmt))
    save_file(stored_weights(network), tmp_path / "w.safetensors")
    again = restored(candidate, tmp_path / "w.safetensors", 10)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, QuantizedLayer)}
    assert sorted(layers) == sorted(layer.name for layer in candidate.layers(10))
    for path, layer in layers.items():
        weight, bias = layer.quantized()
        assert torch.allclose(again.get_submodule(path).weight, weight, rtol=1e-5, atol=1e-7), path
        assert torch.allclose(again.get_submodule(path).bias, bias, rtol=1e-5, atol=1e-6), path


@pytest.mark.parametrize("fmt", ["fp32", "int8", "int3"])
def test_what_is_shipped_is_verified(fmt: str, architecture: ExistingArchitecture, tmp_path: Path) -> None:
    """All layers run as integers that are asked to, the head of another name than ours too; logits are torch's."""
    candidate, network = trained(architecture, plan_of(architecture, ratio=0.5, fmt=fmt))
    files = ship(network, candidate, tmp_path, header=FileHeader(1, 8, CLASSES), targets=[CPU])
    pixels = (images(20) * 255).round().to(torch.uint8)
    expected = network(pixels / 255).detach().numpy()
    shown = Images(pixels.numpy(), expected.argmax(1))
    found = parity.verify(files, [CPU], candidate, shown, expected=expected, num_classes=10)
    assert found.ran_integer == found.asked_integer == candidate.integer_layers(10)
    assert len(found.asked_integer) == (0 if fmt == "fp32" else 6)
    assert found.parity.holds
    steps = 3 / 255 if fmt != "fp32" else 0.01
    assert found.parity.tolerance == pytest.approx(float(expected.max() - expected.min()) * steps)
    costs = runtime_of(CPU).costs(files["cpu"])
    assert (costs.parameters, costs.macs) == (candidate.parameters(10), candidate.macs(10))


def artifact(tmp_path: Path, candidate: Candidate) -> Path:
    folder = tmp_path / "artifacts" / "trial-3"
    folder.mkdir(parents=True)
    task = Task(3, candidate, "search", 1, 8, folder)
    write_evaluation(folder, evaluated(task, make_study(), State.COMPLETE))
    return folder


def test_the_network_is_read_from_the_run_folder(
    architecture: ExistingArchitecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, which knows neither the network nor the weights that it began with."""
    candidate, network = trained(architecture, plan_of(architecture, ratio=0.5, fmt="fp32"))
    folder = artifact(tmp_path, candidate)
    ship(network, candidate, folder, header=FileHeader(1, 8, CLASSES), targets=[CPU])
    (tmp_path / NETWORK_FILE).write_text(to_json(ASKED, Known(architecture.blueprint, "feedbeef0123")))
    expected = network(images())
    for table in ("_blueprints", "_read", "_weights"):
        monkeypatch.setattr(known, table, {})
    again = restored(trained_candidate(folder), folder / "weights.safetensors", 10)
    assert torch.equal(again(images()), expected)


def test_a_broken_record_of_the_network_is_named(architecture: ExistingArchitecture, tmp_path: Path) -> None:
    candidate, network = trained(architecture, {})
    folder = artifact(tmp_path, candidate)
    ship(network, candidate, folder, header=FileHeader(1, 8, CLASSES), targets=[CPU])
    (tmp_path / NETWORK_FILE).write_text('{"schema": 99}')
    with pytest.raises(InputError, match=rf"{NETWORK_FILE}: expected the record of a network, got another"):
        trained_candidate(folder)


def test_a_run_folder_without_the_network_is_told_what_it_lacks(
    architecture: ExistingArchitecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, network = trained(architecture, {})
    folder = artifact(tmp_path, candidate)
    ship(network, candidate, folder, header=FileHeader(1, 8, CLASSES), targets=[CPU])
    monkeypatch.setattr(known, "_blueprints", {})
    with pytest.raises(InputError, match=rf"candidate\.json: .* not known here: expected a {NETWORK_FILE} that"):
        trained_candidate(folder)
