"""Shipping: what is stored, that a file can be made again from it, and which runtimes share a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from networks import ARCHITECTURE, CLASSES, CPU, HEADER, LAYERS, MIXED, pixels, quantized
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from toy_runtime import Toy

from compressors.plan import CompressionPlan, WeightFormat
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from nas.candidates.candidate import Candidate
from nas.data import DataSet, Images, Split
from nas.measuring.parity import compare
from nas.measuring.scoring import as_float
from nas.registry import RUNTIMES
from nas.runtimes.onnxruntime import Runner
from nas.runtimes.runtime import FileHeader
from nas.shipping import emit_files, score_file, ship, stored_weights, verify
from nas.study import Target
from search_spaces.network import build_network

torch.set_num_threads(1)

# Stored weights.


def rebuilt(stored: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a quantized layer from codes, scales and input scale."""
    codes, scales = stored[f"{name}.codes"], stored[f"{name}.scales"]
    weight = codes.float() * scales.reshape(-1, *(1,) * (codes.dim() - 1))
    return weight, stored[f"{name}.bias_codes"].float() * (stored[f"{name}.input_scale"] * scales)


def heard(network: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    """What a layer reads and writes for our images."""
    found: list[tuple[Tensor, Tensor]] = []
    handle = network.get_submodule(name).register_forward_hook(lambda _, x, y: found.append((x[0], y)))
    with torch.no_grad():
        network(torch.from_numpy(as_float(pixels())))
    handle.remove()
    return found[0]


@pytest.mark.parametrize("formats", [MIXED, dict.fromkeys(LAYERS, "int8"), dict.fromkeys(LAYERS, "int4")])
def test_layers_can_be_made_again_from_what_is_stored(formats: dict[str, WeightFormat], tmp_path: Path) -> None:
    network = quantized(formats)
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=formats))
    ship(network, candidate, tmp_path, header=HEADER, targets=[CPU])
    stored = load_file(tmp_path / "weights.safetensors")
    for name in formats:
        layer = network.get_submodule(name)
        x, expected = heard(network, name)
        weight, bias = rebuilt(stored, name)
        assert stored[f"{name}.codes"].dtype == torch.int8
        assert stored[f"{name}.bias_codes"].dtype == torch.int32
        if isinstance(layer, QuantizedConv2d):
            conv = layer.layer
            assert torch.equal(F.conv2d(x, weight, bias, conv.stride, conv.padding, 1, conv.groups), expected), name
        else:
            assert isinstance(layer, QuantizedLinear)
            assert torch.equal(F.linear(x, weight, bias), expected), name


def test_zero_points_and_a_codebook_are_stored_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the codes mean nothing; a layer that has none stores none."""
    network, name = quantized({"classifier": "int4"}), "classifier"
    layer = network.get_submodule(name)
    assert isinstance(layer, QuantizedLinear)
    more = {"zero_points": torch.arange(10, dtype=torch.int8), "codebook": torch.tensor([-9, 4], dtype=torch.int8)}
    packed = replace(layer.packed(), **more)
    monkeypatch.setattr(layer, "packed", lambda: packed)
    stored = stored_weights(network)
    assert all(torch.equal(stored[f"{name}.{key}"], tensor) for key, tensor in more.items())
    assert [key for key in stored if key.endswith((".zero_points", ".codebook"))] == [f"{name}.{key}" for key in more]


def test_float_layers_and_grids_are_stored_as_they_are() -> None:
    network = quantized(MIXED)
    stored = stored_weights(network)
    for name in set(LAYERS) - set(MIXED):
        layer = network.get_submodule(name)
        assert torch.equal(stored[f"{name}.weight"], layer.weight)
        assert torch.equal(stored[f"{name}.bias"], layer.bias)
    grid = network.get_submodule("stem_activation_quantizer")
    assert float(stored["stem_activation_quantizer.scale"]) == grid.grid()[0]
    assert int(stored["stem_activation_quantizer.zero_point"]) == grid.grid()[1]
    assert float(stored["normalize.std"]) == 0.25
    assert not any(key.startswith(f"{name}.layer") for key in stored for name in MIXED)


def test_a_float_layer_may_be_called_layer() -> None:
    """A foreign network's; only the float copy inside a quantized layer is left out."""
    network = nn.ModuleDict({"block": nn.ModuleDict({"layer": nn.Linear(2, 3)})})
    assert sorted(stored_weights(network)) == ["block.layer.bias", "block.layer.weight"]


def test_everything_of_a_float_network_is_stored() -> None:
    network = build_network(ARCHITECTURE, len(CLASSES), seed=0)
    stored, state = stored_weights(network), network.state_dict()
    assert sorted(stored) == sorted(state)
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())


# Files of a candidate.


@pytest.mark.parametrize("formats", [{}, MIXED])
def test_three_files_and_no_more(formats: dict[str, WeightFormat], tmp_path: Path) -> None:
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=formats))
    network = quantized(formats) if formats else build_network(ARCHITECTURE, len(CLASSES), seed=0).eval()
    files = ship(network, candidate, tmp_path, header=HEADER, targets=[CPU])
    file = files["cpu"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidate.json", "model.onnx", "weights.safetensors"]
    assert Candidate.from_json(json.loads((tmp_path / "candidate.json").read_text())) == candidate
    onnx.checker.check_model(onnx.load(file), full_check=True)
    with torch.no_grad():
        expected = network(torch.from_numpy(as_float(pixels()))).numpy()
    shipped = Runner(file, CPU).predict(as_float(pixels()))
    assert compare(expected, shipped, expected.argmax(1), integer_head="classifier" in formats).within_tolerance == 1.0


# Not validated: there is no such row before a test writes it.
TOY = Target.model_construct(name="t", runtime="toy", provider="table", threads=1, batch=1)


class Words(Toy):
    """Writes what it is told, whatever the network."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self.words = words

    def emit(self, network: nn.Module, header: FileHeader) -> bytes:
        return self.words


@pytest.mark.parametrize(("other", "shared"), [(b"same", True), (b"other", False)])
def test_equal_bytes_are_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bytes, shared: bool) -> None:
    monkeypatch.setitem(RUNTIMES, "one", Words(b"same"))
    monkeypatch.setitem(RUNTIMES, "two", Words(other))
    targets = [Target(name="a", runtime="one"), Target(name="b", runtime="two"), Target(name="c", runtime="two")]
    files = emit_files(nn.Identity(), tmp_path, HEADER, targets)
    name = "network.toy" if shared else "network@b.toy"
    assert files == {"a": tmp_path / "network.toy", "b": tmp_path / name, "c": tmp_path / name}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"network.toy": b"same", name: other}


def test_a_network_is_emitted_once_per_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Words, "emit", lambda self, *_: asked.append("") or b"x")
    monkeypatch.setitem(RUNTIMES, "toy", Words(b""))
    emit_files(nn.Identity(), tmp_path, HEADER, [TOY, TOY.model_copy(update={"name": "u", "threads": 2})])
    assert len(asked) == 1


class Bench:
    """As much of a workbench as shipping looks at."""

    def __init__(self, train: Images, validation: Images, test: Images) -> None:
        self.study = SimpleNamespace(target=TOY, targets=(TOY,))
        self.data = DataSet(CLASSES, train, validation, Split((), (), ()), lambda: test)


def test_a_shipped_network_is_checked_on_validation_images_and_scored_on_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are torch's answers for the validation images, and nobody's for the others."""
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    network = quantized(MIXED)
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=MIXED))
    with torch.no_grad():
        answers = network(torch.from_numpy(as_float(pixels()))).argmax(1).numpy()
    wrong = Images(pixels(), (answers + 1) % 10)
    bench: Any = Bench(wrong, Images(pixels(), answers), Images(pixels(8), answers[:8]))
    files = ship(network, candidate, tmp_path, header=HEADER, targets=[TOY])
    found = verify(network, files, candidate, bench)
    assert (found.parity.images, found.parity.accuracy_difference, found.flags) == (32, 0.0, ())
    scores = score_file(files["t"], bench, test=True)
    assert (scores.validation.accuracy, scores.train_accuracy) == (1.0, 0.0)
    assert scores.test is not None
    assert (scores.test.accuracy, scores.test.images) == (1.0, 8)
    assert score_file(files["t"], bench, test=False).test is None
