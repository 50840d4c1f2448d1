"""Shipping: what is compared and how, what is stored, and that a file can be made again from what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, fx, nn
from torch.nn import functional as F

import nas.measuring.parity
import nas.measuring.scoring
from compressors.plan import CompressionPlan, WeightFormat
from compressors.quantization import calibrate, prepare
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from nas.candidates.candidate import Candidate
from nas.data import DataSet, Images, Split
from nas.measuring.costs import layer_reports
from nas.measuring.parity import ParityBroken, check, compare
from nas.measuring.scoring import accuracy, as_float, score_file
from nas.records import score
from nas.runtimes.onnx.emission import FileHeader
from nas.runtimes.onnxruntime import Array, Runner
from nas.shipping import ship, stored_weights
from nas.study import Target
from nas.training.augmentation import Feed
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

torch.set_num_threads(1)

CPU = Target(name="cpu")
CLASSES = tuple("abcdefghij")
HEADER = FileHeader(1, 8, CLASSES)
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True),)),
        StageConfig(width=16, stride=2, blocks=(InvertedResidualConfig(kernel=5, expansion=2, activation="relu6"),)),
    ),
    head=HeadConfig(width=16),
)
LAYERS = tuple(layer.name for layer in ARCHITECTURE.layers(len(CLASSES)))
MIXED: dict[str, WeightFormat] = dict.fromkeys(LAYERS[:4], "int8") | dict.fromkeys(LAYERS[6:9], "int4")


def pixels(count: int = 32) -> Array:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def quantized(formats: dict[str, WeightFormat]) -> fx.GraphModule:
    whole = build_network(ARCHITECTURE, len(CLASSES), seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in whole.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 1, generator=generator)
    network = prepare(whole, formats)
    images = Images(pixels(), np.zeros(32, np.int64))
    calibrate(network, Feed.of(images, torch.device("cpu"), batch_size=32, seed=0).plain(8))
    return network


# Parity: three images, four classes.

REFERENCE = np.array([[0.0, 1.0, 2.0, 10.0], [0.0, 5.0, 2.0, 1.0], [3.0, 0.0, 0.0, 2.9]], np.float32)
LABELS = np.array([3, 1, 3])


def moved(*changes: tuple[int, int, float]) -> Array:
    shipped = REFERENCE.copy()
    for row, column, by in changes:
        shipped[row, column] += by
    return shipped


def test_equal_logits_agree() -> None:
    parity = compare(REFERENCE, REFERENCE.copy(), LABELS, integer_head=True)
    assert parity.holds
    assert (parity.images, parity.max_difference, parity.within_tolerance) == (3, 0.0, 1.0)
    assert (parity.argmax_agreement, parity.clear_margin_disagreements, parity.accuracy_difference) == (1.0, 0, 0.0)


@pytest.mark.parametrize(("integer_head", "tolerance"), [(True, 10 * 3 / 255), (False, 0.1)])
def test_the_tolerance_is_a_share_of_the_logits_range(integer_head: bool, tolerance: float) -> None:
    inside = compare(REFERENCE, moved((0, 0, 0.95 * tolerance)), LABELS, integer_head=integer_head)
    assert inside.tolerance == pytest.approx(tolerance)
    assert inside.max_difference == pytest.approx(0.95 * tolerance, rel=1e-5)
    assert inside.within_tolerance == 1.0
    assert inside.holds
    outside = compare(REFERENCE, moved((0, 0, -1.05 * tolerance)), LABELS, integer_head=integer_head)
    assert outside.within_tolerance == pytest.approx(11 / 12)
    assert not outside.holds


def test_the_range_is_the_references() -> None:
    assert compare(REFERENCE, 100 * REFERENCE, LABELS, integer_head=False).tolerance == pytest.approx(0.1)
    assert compare(REFERENCE - 50, REFERENCE, LABELS, integer_head=False).tolerance == pytest.approx(0.1)


def test_a_narrow_decision_may_fall_the_other_way() -> None:
    """The third image's margin is 0.1, less than twice the tolerance."""
    parity = compare(REFERENCE, moved((2, 3, 0.11)), LABELS, integer_head=True)
    assert parity.argmax_agreement == pytest.approx(2 / 3)
    assert parity.clear_margin_disagreements == 0
    assert parity.accuracy_difference == pytest.approx(1 / 3)
    assert parity.holds  # a single image
    assert not parity.is_broken


def test_a_clear_decision_may_not() -> None:
    """Twice the tolerance of 0.1: the first two images' margins of 8 and 3 are clear, the third's is not."""
    first = moved((0, 2, 8.1))
    assert compare(REFERENCE, first, LABELS, integer_head=False).clear_margin_disagreements == 1
    both = first + moved((1, 2, 3.1)) - REFERENCE
    assert compare(REFERENCE, both, LABELS, integer_head=False).clear_margin_disagreements == 2
    all_three = both + moved((2, 3, 0.2)) - REFERENCE
    parity = compare(REFERENCE, all_three, LABELS, integer_head=False)
    assert (parity.argmax_agreement, parity.clear_margin_disagreements) == (0.0, 2)


def test_one_clear_disagreement_among_many_images_breaks_parity() -> None:
    """By the shares alone it would pass: 999 of 1000 labels and 99.95 % of the logits agree."""
    reference = np.tile(REFERENCE[:2], (500, 1))
    shipped = reference.copy()
    shipped[0, [2, 3]] = shipped[0, [3, 2]]
    parity = compare(reference, shipped, np.tile(LABELS[:2], 500), integer_head=True)
    assert parity.within_tolerance >= 0.999
    assert parity.argmax_agreement == 0.999
    assert parity.clear_margin_disagreements == 1
    assert not parity.holds


@given(st.integers(0, 2**16), st.floats(0, 1))
def test_differences_within_the_tolerance_never_turn_a_clear_margin(seed: int, share: float) -> None:
    """Moving each logit by d at most cannot turn a margin above 2 d."""
    random = np.random.default_rng(seed)
    reference = random.normal(size=(50, 5)).astype(np.float32)
    size = 0.99 * share * 3 / 255 * float(np.ptp(reference))
    shipped = (reference + random.uniform(-size, size, reference.shape)).astype(np.float32)
    labels = random.integers(0, 5, 50)
    parity = compare(reference, shipped, labels, integer_head=True)
    assert (parity.within_tolerance, parity.clear_margin_disagreements) == (1.0, 0)
    assert parity.argmax_agreement == np.mean(reference.argmax(1) == shipped.argmax(1))
    right = [np.mean(logits.argmax(1) == labels) for logits in (reference, shipped)]
    assert parity.accuracy_difference == pytest.approx(abs(right[0] - right[1]))


def test_constant_logits_have_a_tolerance() -> None:
    flat = np.zeros((2, 3), np.float32)
    assert compare(flat, flat, np.array([0, 1]), integer_head=False).tolerance == 0.01


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
    ship(network, Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=formats)), tmp_path, HEADER)
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
    file = ship(network, candidate, tmp_path, HEADER)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidate.json", "model.onnx", "weights.safetensors"]
    assert Candidate.from_json(json.loads((tmp_path / "candidate.json").read_text())) == candidate
    onnx.checker.check_model(onnx.load(file), full_check=True)
    with torch.no_grad():
        expected = network(torch.from_numpy(as_float(pixels()))).numpy()
    shipped = Runner(file, CPU).predict(as_float(pixels()))
    assert compare(expected, shipped, expected.argmax(1), integer_head="classifier" in formats).within_tolerance == 1.0


def test_reports_of_layers_as_shipped() -> None:
    plan = CompressionPlan(kept={"stage1.block1.inner": 8}, formats={"stem.conv": "int8", "head.conv": "int4"})
    reports = layer_reports(Candidate(architecture=ARCHITECTURE, plan=plan), len(CLASSES), frozenset({"stem.conv"}))
    found = {report.name: report for report in reports}
    assert list(found) == list(LAYERS)
    assert (found["stem.conv"].format, found["stem.conv"].ran) == ("int8", "integer")
    assert (found["head.conv"].format, found["head.conv"].ran) == ("int4", "float")
    expand = found["stage1.block1.expand"]
    assert (expand.out_channels, expand.unpruned_channels, expand.parameters) == (8, 16, 8 * 8 + 8)


# Accuracy.


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_standard_error_is_that_of_a_mean(counts: tuple[int, int]) -> None:
    """Of n zeros and ones: their standard deviation over the root of n."""
    correct, images = counts
    outcomes = np.zeros(images)
    outcomes[:correct] = 1
    found = score(correct, images)
    assert found.accuracy == pytest.approx(outcomes.mean())
    assert found.se == pytest.approx(outcomes.std() / images**0.5, abs=1e-9)
    assert found.images == images


@pytest.mark.parametrize(("correct", "images", "se"), [(0, 10, 0.0), (10, 10, 0.0), (50, 100, 0.05), (80, 100, 0.04)])
def test_standard_errors_by_hand(correct: int, images: int, se: float) -> None:
    found = score(correct, images)
    assert (found.accuracy, found.se, found.images) == (correct / images, pytest.approx(se), images)


class Brightness:
    """Stands in for a runner: the class is the tens digit of the first pixel's code."""

    def predict(self, images: Array) -> Array:
        assert images.dtype == np.float32
        assert float(images.max()) <= 1.0
        codes = (images[:, 0, 0, 0] * 255).round().astype(int)
        logits: Array = np.eye(27, dtype=np.float32)[codes // 10]
        return logits


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1200])
def test_accuracy_counts_every_image_once(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 1, 2, 2), dtype=np.uint8)
    labels = images[:, 0, 0, 0].astype(np.int64) // 10
    wrong = labels.copy()
    wrong[::3] += 1
    runner: Any = Brightness()
    assert accuracy(runner, Images(images, labels)).accuracy == 1.0
    found = accuracy(runner, Images(images, wrong))
    expected = score(count - len(wrong[::3]), count)
    assert (found.accuracy, found.se, found.images) == (expected.accuracy, expected.se, expected.images)


def test_as_float_is_what_training_sees() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(as_float(codes), (torch.from_numpy(codes).to(torch.float32) / 255).numpy())


class Bench:
    """As much of a workbench as scoring looks at."""

    def __init__(self, train: Images, validation: Images, test: Images) -> None:
        self.study = SimpleNamespace(target=CPU)
        self.data = DataSet(CLASSES, train, validation, Split((), (), ()), lambda: test)


@pytest.mark.parametrize(("change", "flags"), [(lambda x: x, ()), (lambda x: x + 0.02 * np.ptp(x), ("parity",))])
def test_a_file_that_says_otherwise_is_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array], flags: tuple[str, ...]
) -> None:
    assert checked(tmp_path, monkeypatch, change)["flags"] == flags


def test_a_file_that_decides_otherwise_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParityBroken, match="accuracy in runtime and torch differ by"):
        checked(tmp_path, monkeypatch, np.negative)


def checked(folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array]) -> dict[str, Any]:
    """What is found of a float network's file where the runtime's logits are changed; torch is right on all images."""
    network = build_network(ARCHITECTURE, len(CLASSES), seed=0).eval()
    network.classifier.weight.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))
    candidate = Candidate(architecture=ARCHITECTURE)
    file = ship(network, candidate, folder, HEADER)
    with torch.no_grad():
        answers = network(torch.from_numpy(as_float(pixels()))).argmax(1).numpy()
    images = Images(pixels(), answers)
    honest = Runner.predict
    monkeypatch.setattr(Runner, "predict", lambda self, x: change(honest(self, x)))
    bench: Any = Bench(images, images, images)
    return check(file, network, candidate, bench)


def test_what_ran_is_what_the_runtime_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantized(MIXED)
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=MIXED))
    file = ship(network, candidate, tmp_path, HEADER)
    monkeypatch.setattr(nas.measuring.parity, "integer_layers", lambda *_: frozenset({"stem.conv"}))
    images = Images(pixels(), np.zeros(32, np.int64))
    bench: Any = Bench(images, images, images)
    found = check(file, network, candidate, bench)
    assert (set(found["asked_integer"]), found["ran_integer"]) == (set(MIXED), ("stem.conv",))


def test_every_part_has_the_score_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of 10 training images right, half of 20 validation images, a quarter of 40 test images."""

    def part(count: int) -> Images:
        codes = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
        labels = codes.ravel().astype(np.int64) // 10
        labels[10:] += 1
        return Images(codes, labels)

    monkeypatch.setattr(nas.measuring.scoring, "Runner", lambda *_: Brightness())
    ways: list[None] = []
    bench: Any = Bench(part(10), part(20), part(40))
    scores = score_file(Path("model.onnx"), bench, test=True, give_way=lambda: ways.append(None))
    assert scores["train_accuracy"] == 1.0
    assert (scores["validation"].accuracy, scores["validation"].images) == (0.5, 20)
    assert (scores["test"].accuracy, scores["test"].images) == (0.25, 40)
    assert len(ways) == 3
    assert score_file(Path("model.onnx"), bench, test=False)["test"] is None
