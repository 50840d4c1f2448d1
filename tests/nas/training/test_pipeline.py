"""A candidate's training is a function of (seed, step, total): stopped anywhere and continued, it ends the same."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from torch import Tensor, fx, nn
from trainings import Killed, recipe_of

import nas.training.loop
import nas.training.preview
import nas.training.stage_run
from compressors.batch_norm import estimate_batch_norm
from compressors.coding.rate import mean_bits
from compressors.pipeline import STEPS as TABLE
from compressors.pipeline import Method, Options, Step, compress
from compressors.plan import CompressionPlan
from compressors.quantization import ActivationQuantizer, QuantizedConv2d, QuantizedLinear
from compressors.quantization.modules import QuantizedLayer
from compressors.quantization.normed import FreezableNorm
from compressors.steps import Retraining
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.study import Compression
from nas.tasks import Rung, Verdict
from nas.training.augmentation import Augmentation, Feed
from nas.training.carried import Carried
from nas.training.checkpoint import load_checkpoint
from nas.training.early_stopping import EarlyStopping
from nas.training.pipeline import TrainingPipeline
from nas.training.preview import copy_steps, preview
from nas.training.reporting import Interrupted, Look, Snapshot
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

pytestmark = pytest.mark.usefixtures("checkpoint_every_epoch")

STEPS, EPOCHS = 3, 8  # shares .5 .25 .25: four dense epochs, two pruned, two quantization-aware

ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True),)),
        StageConfig(width=8, stride=2, blocks=(InvertedResidualConfig(kernel=3, expansion=1),)),
    ),
    head=HeadConfig(width=16),
)
FORMATS: dict[str, Literal["fp32", "int8", "int4"]] = {
    layer.name: "int8" if i % 2 else "int4" for i, layer in enumerate(ARCHITECTURE.layers(4))
}
PLANS = {
    "dense": CompressionPlan(),
    "pruned": CompressionPlan(kept={"stage1.block1.inner": 8}),
    "quantized": CompressionPlan(formats=FORMATS),
    "both": CompressionPlan(kept={"stage1.block1.inner": 8}, formats=FORMATS),
}


def pipeline(checkpoint: Path, plan: str, **options: Any) -> TrainingPipeline:
    training = recipe_of(**{"epochs": EPOCHS, "shares": {"dense": 0.5, "pruned": 0.25, "quantized": 0.25}, **options})
    random = np.random.default_rng(0)
    images = Images(random.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8), random.integers(0, 4, 48))
    augmentation = Augmentation(
        flip=True, crop_padding=1, randaugment=training.randaugment, cutout=training.cutout, mixup=training.mixup
    )
    feed = Feed.of(images, torch.device("cpu"), batch_size=16, seed=5, augmentation=augmentation)
    candidate = Candidate(architecture=ARCHITECTURE, plan=PLANS[plan])
    watched = (feed.images[:30], feed.labels[:30])
    recorded = torch.from_numpy(random.normal(size=(48, 4)))
    return TrainingPipeline(training, candidate, feed, EPOCHS, checkpoint, validation=watched, recorded=recorded)


def start_of(own: TrainingPipeline) -> Carried:
    return Carried("fp32", own.candidate.plan)


def network(dropout: float = 0.0) -> nn.Module:
    built = build_network(ARCHITECTURE, 4, mean=0.5, std=0.25, seed=5, dropout=dropout)
    return built.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def batches(limit: int | None = None) -> tuple[list[int], Callable[[], None]]:
    """A count of the batches trained, and a `give_way` that kills at the one after `limit`."""
    trained: list[int] = []

    def give_way() -> None:
        if len(trained) == limit:
            raise Killed
        trained.append(1)

    return trained, give_way


def fit(own: TrainingPipeline, limit: int | None = None) -> tuple[int, dict[str, Tensor] | None]:
    """Batches trained, and the network's state, or None where it was killed."""
    trained, give_way = batches(limit)
    try:
        state = own.fit(network(own.training.dropout), give_way).network.state_dict()
    except Killed:
        return len(trained), None
    return len(trained), state


def assert_same(first: dict[str, Tensor] | None, second: dict[str, Tensor] | None) -> None:
    assert first is not None
    assert second is not None
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@cache
def straight(plan: str, optimizer: str = "sgd") -> tuple[int, dict[str, Tensor] | None]:
    """An uninterrupted training."""
    with tempfile.TemporaryDirectory() as folder:
        return fit(pipeline(Path(folder) / "checkpoint.pt", plan, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("plan", sorted(PLANS))
def test_stopped_and_continued_ends_bit_for_bit_the_same(tmp_path: Path, plan: str, optimizer: str) -> None:
    total, expected = straight(plan, optimizer)
    assert total == EPOCHS * STEPS
    for stop in np.random.default_rng(len(plan)).permutation(total)[:2].tolist():
        checkpoint = tmp_path / f"{stop}.pt"
        assert fit(pipeline(checkpoint, plan, optimizer=optimizer), stop) == (stop, None)
        rest, continued = fit(pipeline(checkpoint, plan, optimizer=optimizer))
        assert rest == total - stop // STEPS * STEPS  # only the epoch it was killed in is done again
        assert_same(expected, continued)


@pytest.mark.parametrize("options", [{"batch_norm": "live", "ema": 0.9}, {"batch_norm": "folded"}])
def test_every_kind_of_grid_survives_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    names = ("codebook2", "pow2", "ternary", "int8_asymmetric", "binary", "codebook4")
    layers = [layer.name for layer in ARCHITECTURE.layers(4)]
    formats = {layer: names[i % len(names)] for i, layer in enumerate(layers)}
    monkeypatch.setitem(PLANS, "uneven", CompressionPlan.model_validate({"formats": formats}))
    total, expected = fit(pipeline(tmp_path / "whole.pt", "uneven", **options))
    assert fit(pipeline(tmp_path / "cut.pt", "uneven", **options), total - STEPS + 1)[1] is None
    rest, continued = fit(pipeline(tmp_path / "cut.pt", "uneven", **options))
    assert rest == STEPS  # of the quantized stage
    assert_same(expected, continued)


EXTRAS: dict[str, dict[str, Any]] = {
    "ema": {"ema": 0.9},
    "mixing": {"mixup": 0.4, "randaugment": {"operations": 2, "magnitude": 9}, "cutout": 0.3},
    "dropout": {"dropout": 0.4, "l1": 1e-4, "optimizer": "rmsprop"},
    "own teacher": {"distillation": {"teacher": "self"}},
    "reference teacher": {"distillation": {"teacher": "reference"}, "mixup": 0.2},
    "hints": {"distillation": {"teacher": "self", "features_weight": 1.0, "attention_weight": 1.0, "weight": 0.0}},
    "patience": {"patience": 1, "ema": 0.9},
    "bf16": {"precision": "bf16"},
    "live": {"batch_norm": "live", "ema": 0.9},
    "tail": {"batch_norm": "live", "cycle": "tail"},
    "rate": {"rate_weight": 0.1},
}
EXTRAS["everything"] = {**EXTRAS["mixing"], **EXTRAS["dropout"], **EXTRAS["own teacher"], **EXTRAS["patience"]}


@pytest.mark.parametrize("extra", EXTRAS)
def test_all_options_survive_being_stopped(tmp_path: Path, extra: str) -> None:
    def own(name: str) -> TrainingPipeline:
        made = pipeline(tmp_path / name, "both", **EXTRAS[extra])
        return replace(made, choose_precision=lambda _: "bf16" if extra == "bf16" else "fp32")

    total, expected = fit(own("whole"))
    assert total == EPOCHS * STEPS or "patience" in EXTRAS[extra]
    with pytest.raises(AssertionError):
        assert_same(expected, straight("both")[1])  # the option changes something at all
    for stop in (STEPS, total // 2, total - 1):
        name = f"{stop}.pt"
        assert fit(own(name), stop) == (stop, None)
        resumed = replace(own(name), choose_precision=lambda _: pytest.fail("chosen twice"))
        rest, continued = fit(resumed)
        assert rest == total - stop // STEPS * STEPS
        assert_same(expected, continued)


@pytest.mark.parametrize("extra", EXTRAS)
def test_within_a_long_epoch_no_step_is_done_twice(tmp_path: Path, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms that are frozen, ranges that move, scales that follow the weights: all as in one piece."""

    def own(name: str) -> TrainingPipeline:
        made = pipeline(tmp_path / name, "both", **EXTRAS[extra])
        return replace(made, choose_precision=lambda _: "bf16" if extra == "bf16" else "fp32")

    total, expected = fit(own("whole"))
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_WITHIN_EPOCH", 0.0)
    for stop in (total // 2 + 1, total - 1):
        name = f"{stop}.pt"
        assert fit(own(name), stop) == (stop, None)
        rest, continued = fit(own(name))
        assert rest == total - stop
        assert_same(expected, continued)


def test_checkpoints_within_epochs_are_spaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where epochs are short there are none."""
    assert fit(pipeline(tmp_path / "a.pt", "dense"), STEPS + 1) == (STEPS + 1, None)
    saved = load_checkpoint(tmp_path / "a.pt")
    assert saved is not None
    assert (saved["epoch"], saved.get("within")) == (1, None)
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_WITHIN_EPOCH", 0.0)
    assert fit(pipeline(tmp_path / "b.pt", "dense"), STEPS + 1) == (STEPS + 1, None)
    saved = load_checkpoint(tmp_path / "b.pt")
    assert saved is not None
    assert (saved["epoch"], saved.get("within")) == (1, 1)


def test_a_rate_in_the_loss_makes_the_codes_cheaper(tmp_path: Path) -> None:
    bits = []
    for weight in (0.0, 3.0):
        own = pipeline(tmp_path / f"{weight}.pt", "quantized", rate_weight=weight, optimizer="adamw")
        bits.append(float(mean_bits(own.fit(network(), lambda: None).network).detach()))
    assert bits[1] < bits[0] - 0.02


def test_patience_ends_the_dense_stage_and_keeps_its_best(tmp_path: Path) -> None:
    """With a rate of nearly nothing the accuracy never changes: one epoch is the best, and so many follow."""
    own = pipeline(tmp_path / "a.pt", "quantized", patience=2, learning_rate=1e-30, epochs=EPOCHS)
    trained, give_way = batches()
    fitted = own.fit(network(), give_way)
    dense, quantized = 3, 2
    assert fitted.epochs == dense + quantized
    assert len(trained) == (dense + quantized) * STEPS


def test_without_a_stage_to_teach_a_network_teaches_nobody(tmp_path: Path) -> None:
    taught = fit(pipeline(tmp_path / "a.pt", "dense", distillation={"teacher": "self"}))
    assert_same(straight("dense")[1], taught[1])


def test_the_average_is_handed_over(tmp_path: Path) -> None:
    """What a stage ends with is the average of the weights after each of its steps."""
    own = pipeline(tmp_path / "a.pt", "dense", ema=0.5)
    seen: list[Tensor] = []
    built = network()

    def give_way() -> None:
        seen.append(built.classifier.weight.detach().clone())

    own.fit(built, give_way)
    average = seen[0]
    for n, weight in enumerate(seen[1:]):  # the last step's own weights are not seen: fold what is
        decay = min(0.5, (1 + n) / (10 + n))
        average = torch.lerp(average, weight, 1 - decay)
    final = built.classifier.weight.detach()
    saved = load_checkpoint(tmp_path / "a.pt")
    assert saved is not None
    assert saved["average"] is not None
    last = saved["network"]["classifier.weight"]
    assert torch.allclose(final, torch.lerp(average, last, 0.5), atol=1e-6)
    assert not torch.equal(final, last)


@pytest.mark.parametrize(
    ("plan", "options"), [("dense", {}), ("dense", {"ema": 0.9}), ("both", {}), ("both", {"patience": 9})]
)
def test_batch_norm_is_that_of_the_weights_whenever_a_stage_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str, options: dict[str, Any]
) -> None:
    """In a short training the running statistics are of weights that have long moved on."""
    own, seen = pipeline(tmp_path / "a.pt", plan, **options), list[nn.Module]()
    handed_over = nas.training.stage_run.StageRun.hand_over

    def spy(run: Any) -> None:
        handed_over(run)
        seen.append(copy.deepcopy(run.network))

    monkeypatch.setattr(nas.training.stage_run.StageRun, "hand_over", spy)
    own.fit(network(), batches()[1])
    normed = [module for module in seen if any(type(m) is nn.BatchNorm2d for m in module.modules())]
    assert len(normed) == (2 if plan == "both" else 1)
    for module in normed:
        found = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        estimate_batch_norm(module, own.batches)
        for name, tensor in module.state_dict().items():
            assert torch.equal(found[name], tensor), name


def test_after_pruning_statistics_are_estimated_before_a_step_is_made(tmp_path: Path) -> None:
    own, built = pipeline(tmp_path / "a.pt", "pruned"), network()
    pruned = own.change(built, own.stages[1], start_of(own))
    found = pruned.get_submodule("stage1.block1.project_bn").running_mean.clone()
    estimate_batch_norm(pruned, own.batches)
    assert torch.equal(pruned.get_submodule("stage1.block1.project_bn").running_mean, found)
    assert bool(found.any())


def test_a_pupil_is_taught_by_the_network_it_was_when_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, taught = (
        pipeline(tmp_path / "a.pt", "both", distillation={"teacher": "self"}),
        list[dict[str, Tensor] | None](),
    )
    loss = TrainingPipeline.loss

    def spy(self: TrainingPipeline, student: nn.Module, dense: nn.Module | None) -> Any:
        taught.append(None if dense is None else copy.deepcopy(dense.state_dict()))
        return loss(self, student, dense)

    monkeypatch.setattr(TrainingPipeline, "loss", spy)
    own.fit(network(), batches()[1])
    nobody, first, second = taught
    assert nobody is None
    assert first is not None
    assert first["stage1.block1.expand.weight"].shape[0] == 16  # before eight of them were cut
    assert_same(first, second)


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}])
def test_a_network_teaches_itself_with_the_average_of_its_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    """With a rate that is still high its last weights say little; where each stage ends with an average, that is it."""
    own = pipeline(tmp_path / "a.pt", "pruned", distillation={"teacher": "self"}, **options)
    seen, built, masters = list[Tensor](), network(), list[nn.Module]()
    with pytest.MonkeyPatch.context() as patched:
        master = nas.training.stage_run.StageRun.master
        patched.setattr(
            nas.training.stage_run.StageRun, "master", lambda run: masters.append(found := master(run)) or found
        )
        own.fit(built, lambda: seen.append(built.classifier.weight.detach().clone()))
    (taught,) = masters
    dense = own.stages[0].steps
    average = seen[0]
    for n, weight in enumerate(seen[1 : dense + 1]):
        average = torch.lerp(average, weight, 1 - min(options.get("ema", 1.0), (1 + n) / (10 + n)))
    if not options:
        assert torch.allclose(taught.classifier.weight, average, atol=1e-6)
        assert not torch.allclose(taught.classifier.weight, seen[dense], atol=1e-4)
    else:
        assert torch.equal(taught.classifier.weight, seen[dense])  # what the pruned stage begins with
    means = taught.get_submodule("stem.conv_bn").running_mean.clone()
    estimate_batch_norm(taught, own.batches)
    assert torch.equal(means, taught.get_submodule("stem.conv_bn").running_mean)


@pytest.mark.parametrize("plan", ["dense", "both"])
def test_a_guide_shows_what_it_holds_in_every_stage(tmp_path: Path, plan: str) -> None:
    """Its projections are trained and not shipped, and a killed training has them again."""
    distillation = {"teacher": "reference", "features_weight": 2.0, "attention_weight": 5.0}
    guide = build_network(ARCHITECTURE, 4, seed=9).eval()

    def own(name: str) -> TrainingPipeline:
        return replace(pipeline(tmp_path / name, plan, distillation=distillation), recorded=None, guide=guide)

    total, expected = fit(own("whole.pt"))
    assert expected is not None
    plain = straight(plan)[1]
    assert plain is not None
    assert list(expected) == list(plain)
    saved = load_checkpoint(tmp_path / "whole.pt")
    assert saved is not None
    assert [tuple(one.shape) for one in saved["projections"]] == [(8, 8), (8, 8)]
    for stop in (2 * STEPS, total - 1):
        assert fit(own(f"{stop}.pt"), stop) == (stop, None)
        assert_same(expected, fit(own(f"{stop}.pt"))[1])
    with pytest.raises(ValueError, match="expected the network itself, got none"):
        replace(own("none.pt"), guide=None).loss(network(), None)


def test_projections_are_trained(tmp_path: Path) -> None:
    options = {"teacher": "reference", "features_weight": 1.0}
    own = replace(
        pipeline(tmp_path / "a.pt", "dense", distillation=options), guide=build_network(ARCHITECTURE, 4, seed=9)
    )
    loss = own.loss(network(), None)
    loss.fit(own.batches)
    begun = [projection.detach().clone() for projection in loss.projections]
    own.fit(network(), lambda: None)
    saved = load_checkpoint(tmp_path / "a.pt")
    assert saved is not None
    assert len(begun) == 2
    assert not any(torch.equal(*both) for both in zip(begun, saved["projections"], strict=True))


def test_without_a_part_to_look_at_answers_alone_teach(tmp_path: Path) -> None:
    options = {"teacher": "reference", "features_weight": 1.0, "at": ("stage1.block9",)}
    guided = replace(pipeline(tmp_path / "a.pt", "dense", distillation=options), guide=network())
    loss = guided.loss(network(), None)
    assert loss.hints is None
    assert loss.teacher is not None


def test_scales_fit_the_average_that_is_shipped(tmp_path: Path) -> None:
    own = replace(pipeline(tmp_path / "a.pt", "quantized", ema=0.5), compression=Compression(learned_step_sizes=()))
    shipped = own.fit(network(), batches()[1]).network
    for module in shipped.modules():
        if isinstance(module, QuantizedConv2d | QuantizedLinear):
            scales = module.scales.clone()
            module.refresh_scales()
            torch.testing.assert_close(module.scales, scales)


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}, {"cycle": "tail"}, {"cycle": "stage"}])
@pytest.mark.parametrize("plan", ["quantized", "both"])
def test_a_network_with_living_norms_ends_as_the_same_kind(tmp_path: Path, plan: str, options: dict[str, Any]) -> None:
    """And its file computes what it does."""
    live, folded = (
        pipeline(tmp_path / how, plan, batch_norm=how, **options).fit(network(), batches()[1]).network.cpu().eval()
        for how in ("live", "folded")
    )
    assert list(live.state_dict()) == list(folded.state_dict())
    assert [type(module) for module in live.children()] == [type(module) for module in folded.children()]
    model = emit(live, FileHeader(1, 8, ("a", "b", "c", "d"))).SerializeToString()
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
    (logits,) = InferenceSession(model).run(None, {"image": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), live(images), rtol=0, atol=0.05 * float(live(images).std()))


def test_norms_live_for_two_thirds_of_their_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, step = list[list[bool]](), nas.training.loop._Step.__call__

    def watched(self: Any, *arguments: Any) -> Tensor:
        alive.append([m.training for m in self._network.modules() if isinstance(m, FreezableNorm)])
        return step(self, *arguments)

    monkeypatch.setattr(nas.training.loop._Step, "__call__", watched)
    shares = {"dense": 0.25, "pruned": 0.0, "quantized": 0.75}
    pipeline(tmp_path / "a.pt", "quantized", batch_norm="live", shares=shares).fit(network(), batches()[1])
    assert [len(norms) for norms in alive] == [0] * 6 + [len(alive[-1])] * 18
    assert [set(norms) for norms in alive[6:]] == [{True}] * 12 + [{False}] * 6


def test_patience_watches_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, watched = pipeline(tmp_path / "a.pt", "dense", ema=0.9, patience=9), list[Tensor]()
    built, raw = network(), list[Tensor]()
    watch, after = EarlyStopping.watch, nas.training.stage_run.StageRun.watch_and_save
    monkeypatch.setattr(
        EarlyStopping, "watch", lambda s, n, f: watched.append(n.classifier.weight.detach().clone()) or watch(s, n, f)
    )
    monkeypatch.setattr(
        nas.training.stage_run.StageRun,
        "watch_and_save",
        lambda run, done: raw.append(built.classifier.weight.detach().clone()) or after(run, done),
    )
    own.fit(built, batches()[1])
    assert len(watched) == len(raw) == EPOCHS
    assert not any(torch.equal(one, other) for one, other in zip(watched, raw, strict=True))


@pytest.mark.parametrize("epoch", range(EPOCHS + 1))
def test_stopped_at_the_end_of_every_epoch_of_every_stage(tmp_path: Path, epoch: int) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    # After the last epoch: trained to the end, killed before the file was shipped.
    fit(pipeline(checkpoint, "both"), epoch * STEPS if epoch < EPOCHS else None)
    rest, continued = fit(pipeline(checkpoint, "both"))
    assert rest == (EPOCHS - epoch) * STEPS
    assert_same(straight("both")[1], continued)


def test_killed_again_and_again(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    reached = (-1, -1)
    for _ in range(1, EPOCHS):
        _, state = fit(pipeline(checkpoint, "both"), STEPS + 1)
        saved = load_checkpoint(checkpoint)
        assert state is None
        assert saved is not None
        assert (saved["stage"], saved["epoch"]) > reached
        reached = (saved["stage"], saved["epoch"])
    assert_same(straight("both")[1], fit(pipeline(checkpoint, "both"))[1])


def test_checkpoints_are_spaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 3600.0)
    fit(pipeline(tmp_path / "checkpoint.pt", "both"))
    assert list(tmp_path.iterdir()) == []


def test_other_optimizers_end_otherwise() -> None:
    """The comparison above can fail at all."""
    with pytest.raises(AssertionError):
        assert_same(straight("dense", "sgd")[1], straight("dense", "adamw")[1])


def test_with_a_checkpoint_of_another_version_a_training_starts_again(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save({"version": 1, "phase": 0, "epoch": 1, "network": {}, "optimizer": {}}, file)
    assert_same(straight("dense")[1], fit(pipeline(file, "dense"))[1])


def test_the_loss_is_what_the_study_says(tmp_path: Path) -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    taught = {"teacher": "reference", "weight": 0.3, "temperature": 2.0}
    own = pipeline(tmp_path / "a.pt", "both", label_smoothing=0.1, distillation=taught)
    assert own.recorded is not None
    loss = replace(own, class_weights=weights).loss(network(), None)
    assert loss.class_weights is weights
    assert (loss.label_smoothing, loss.weight, loss.temperature) == (0.1, 0.3, 2.0)
    assert loss.teacher is not None


def test_compression_is_what_the_study_says(tmp_path: Path) -> None:
    """The largest batch norm scales stay; 4-bit steps are trained; every grid is set before a step is made."""
    chosen = Compression(importance="bn_scale", learned_step_sizes=("int4",))
    own = replace(pipeline(tmp_path / "a.pt", "both"), compression=chosen)
    built = network()
    scales = torch.tensor([1.0, 16, 2, 15, 3, 14, 4, 13, 5, 12, 6, 11, 7, 10, 8, 9])
    for name in ("expand_bn", "depthwise_bn"):
        built.get_submodule(f"stage1.block1.{name}").weight.data = scales.clone()
    pruned = own.change(built, own.stages[1], start_of(own))
    assert pruned.get_submodule("stage1.block1.expand_bn").weight.tolist() == [16, 15, 14, 13, 12, 11, 10, 9]
    quantized = own.change(pruned, own.stages[2], start_of(own))
    layers = {n: m for n, m in quantized.named_modules() if isinstance(m, QuantizedLayer)}
    assert {n for n, m in layers.items() if m.learned} == {n for n, f in FORMATS.items() if f == "int4"}
    grids = [m for m in quantized.modules() if isinstance(m, ActivationQuantizer) and not m.is_fixed]
    assert all(bool(torch.isfinite(grid.low)) for grid in grids)


ALONE: dict[str, dict[str, Any]] = {
    "l1": {"l1": 1e-2}, "dropout": {"dropout": 0.4}, "cutout": {"cutout": 0.3}, "mixup": {"mixup": 0.4},
    "randaugment": {"randaugment": {"operations": 2, "magnitude": 9}}, "ema": {"ema": 0.9},
    "label smoothing": {"label_smoothing": 0.1}, "reference teacher": {"distillation": {"teacher": "reference"}},
}  # fmt: skip


@pytest.mark.parametrize("option", ALONE)
def test_every_option_alone_changes_something(tmp_path: Path, option: str) -> None:
    with pytest.raises(AssertionError):
        assert_same(straight("dense")[1], fit(pipeline(tmp_path / "a.pt", "dense", **ALONE[option]))[1])


# A compressor that exists in this file only: a row of the table, no more.


@dataclass(frozen=True)
class Masks:
    """Layer -> share of the weights that are set to zero and stay there; or a threshold, until it is resolved."""

    ratios: Mapping[str, float]
    is_explicit: bool = False


def least_to_zero(network: nn.Module, record: Masks, _: Options) -> nn.Module:
    for path, ratio in record.ratios.items():
        layer = network.get_submodule(path)
        magnitude = layer.weight.detach().abs()
        least = magnitude.flatten().kthvalue(int(ratio * magnitude.numel())).values
        layer.register_buffer("mask", (magnitude > least).float())
        layer.weight.register_hook(lambda gradient, layer=layer: gradient * layer.mask)
        layer.weight.data *= layer.mask
    return network


def masks_of(plan: CompressionPlan) -> Masks | None:
    return Masks(cast("dict[str, float]", plan.steps["toy"])) if "toy" in plan.steps else None


@dataclass
class Toy:
    """The row, and what it has seen."""

    settled: list[int] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    ended: int = 0

    def row(self, **fields: Any) -> Step:
        def end(_: nn.Module) -> None:
            self.ended += 1

        method = Method(
            apply=least_to_zero,
            settle=lambda network, batches: self.settled.append(sum(len(images) for images in batches)),
            begin_epoch=lambda network, done: self.begun.append(done),
            end_stage=end,
        )
        training = Retraining(number=3, share=0.25, peak=0.25, in_fp32=True)
        return Step("toy", masks_of, method, **{"training": training, "after": ("pruned",), **fields})


MASKED = {"stage1.block1.expand": 0.5, "head.conv": 0.25}


def below(network: nn.Module, record: Masks, _: Options) -> Masks:
    """A request by threshold comes down to the share of weights that are smaller."""
    small = (network.get_submodule(path).weight.detach().abs() < limit for path, limit in record.ratios.items())
    return Masks({path: float(found.float().mean()) for path, found in zip(record.ratios, small, strict=True)}, True)


def by_share(plan: CompressionPlan, record: Masks) -> CompressionPlan:
    return plan.model_copy(update={"steps": {"toy": {path: {"share": share} for path, share in record.ratios.items()}}})


def either(plan: CompressionPlan) -> Masks | None:
    """Numbers are thresholds, mappings shares."""
    given = plan.steps.get("toy", {})
    shares = {path: told["share"] for path, told in given.items() if isinstance(told, dict)}
    return Masks(shares, True) if shares else Masks(cast("dict[str, float]", given)) if given else None


@pytest.mark.parametrize("plan", ["toy pruned", "toy both"])
def test_a_request_that_depends_on_weights_is_resolved_once(
    tmp_path: Path, toy: Toy, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What results stands in the plan and in the checkpoint: a training that goes on does not ask its weights again."""
    asked: list[Options] = []

    def resolve(network: nn.Module, record: Masks, options: Options) -> Masks:
        asked.append(options)
        return below(network, record, options)

    row = replace(toy.row(), asked=either, depends=lambda record: not record.is_explicit, written=by_share)
    method = replace(row.method, resolve=resolve)
    monkeypatch.setitem(TABLE, "toy", replace(row, method=method))
    own = pipeline(tmp_path / "whole.pt", plan)
    trained = own.fit(network(), lambda: None)
    assert trained.plan.steps["toy"].keys() == MASKED.keys()
    shares = {path: told["share"] for path, told in trained.plan.steps["toy"].items()}  # type: ignore[index, call-overload]
    assert trained.resulted_json(own.candidate.plan)["steps"] == {"toy": {p: {"share": s} for p, s in shares.items()}}
    assert trained.resulted_json(trained.plan) == {}
    stages = [stage.name for stage in own.stages]
    begins = sum(stage.steps for stage in own.stages[: stages.index("toy")])
    assert [options.evidence is not None for options in asked] == [True]
    evidence = asked[0].evidence
    assert evidence is not None
    assert evidence.momenta.keys() == dict(network().named_parameters()).keys()
    assert sum(len(labels) for _, labels in evidence.batches) == 48
    fit(pipeline(tmp_path / "b.pt", plan), begins + STEPS + 1)
    assert len(asked) == 2
    continued = pipeline(tmp_path / "b.pt", plan).fit(network(), lambda: None)
    assert len(asked) == 2
    assert continued.plan == trained.plan
    assert_same(trained.network.state_dict(), continued.network.state_dict())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy()
    monkeypatch.setitem(TABLE, "toy", made.row())
    for name in ("pruned", "both", "dense"):
        monkeypatch.setitem(PLANS, f"toy {name}", PLANS[name].model_copy(update={"steps": {"toy": MASKED}}))
    return made


def zeros(state: dict[str, Tensor], name: str) -> float:
    """The share of a layer's weights that are exactly zero."""
    return float((state[f"{name}.weight"] == 0).float().mean())


def test_a_step_of_one_s_own_has_a_stage(tmp_path: Path, toy: Toy) -> None:
    """Its share is its row's; all are scaled: 0.4, 0.2, 0.2 and 0.2 of 24 steps."""
    own = pipeline(tmp_path / "a.pt", "toy both")
    assert [(stage.name, stage.steps) for stage in own.stages] == [
        ("dense", 9), ("pruned", 5), ("toy", 5), ("quantized", 5)
    ]  # fmt: skip
    assert fit(own)[0] == EPOCHS * STEPS
    assert (toy.settled, toy.ended) == ([48], 1)
    assert toy.begun == [0.0, 0.5]


@pytest.mark.parametrize("plan", ["toy dense", "toy pruned", "toy both"])
def test_a_stage_of_one_s_own_is_continued(tmp_path: Path, toy: Toy, plan: str) -> None:
    total, expected = fit(pipeline(tmp_path / "whole.pt", plan))
    stages = pipeline(tmp_path / "whole.pt", plan).stages
    begins = sum(stage.steps for stage in stages[: [stage.name for stage in stages].index("toy")])
    checkpoint = tmp_path / "stopped.pt"
    fit(pipeline(checkpoint, plan), begins + STEPS + 1)
    saved = load_checkpoint(checkpoint)
    assert saved is not None
    assert (stages[saved["stage"]].name, saved["epoch"]) == ("toy", 1)
    rest, continued = fit(pipeline(checkpoint, plan))
    assert rest == total - begins - STEPS
    assert_same(expected, continued)


def test_what_a_step_s_stage_trained_is_shipped(tmp_path: Path, toy: Toy) -> None:
    _, state = fit(pipeline(tmp_path / "a.pt", "toy pruned"))
    assert state is not None
    for name, ratio in MASKED.items():
        assert zeros(state, name) == pytest.approx(ratio, abs=0.01)


def test_a_step_without_training_joins_the_next_stage_or_the_end(
    tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLE, "toy", toy.row(training=None))
    own = pipeline(tmp_path / "a.pt", "toy both")
    assert [[request.step.name for request in stage.requests] for stage in own.stages] == [
        [], ["pruned"], ["toy", "quantized"]
    ]  # fmt: skip
    last = pipeline(tmp_path / "b.pt", "toy dense")
    assert [stage.name for stage in last.stages] == ["dense"]
    _, state = fit(last)
    assert state is not None
    assert zeros(state, "head.conv") == pytest.approx(MASKED["head.conv"], abs=0.01)
    assert toy.settled == [48]


def test_a_study_s_share_of_a_step_s_own_is_obeyed(tmp_path: Path, toy: Toy) -> None:
    shares = {"dense": 0.25, "pruned": 0.25, "toy": 0.375, "quantized": 0.125}
    own = pipeline(tmp_path / "a.pt", "toy both", shares=shares)
    assert [stage.steps for stage in own.stages] == [6, 6, 9, 3]


def test_a_step_of_one_s_own_is_in_the_file_that_is_measured_and_shipped(tmp_path: Path, toy: Toy) -> None:
    """The untrained copy whose costs are measured, and the trained network."""
    own = pipeline(tmp_path / "a.pt", "toy both")
    untrained = compress(network(), own.candidate.plan, own.options, own.batches, trained=False)
    trained = own.fit(network(), batches()[1]).network
    for found in (untrained, trained):
        assert isinstance(found, fx.GraphModule)
        model = emit(found, FileHeader(1, 8, ("a", "b", "c", "d")))
        assert len(model.SerializeToString()) > 1000
        codes = found.get_submodule("head.conv").packed().codes
        assert float((codes == 0).float().mean()) >= MASKED["head.conv"] - 1 / 8


# Reports between epochs.


@pytest.mark.parametrize("plan", ["dense", "both"])
def test_every_epoch_is_reported_with_those_done_so_far(tmp_path: Path, plan: str) -> None:
    told = list[float]()
    own = pipeline(tmp_path / "a.pt", plan)
    own.fit(network(), batches()[1], report=lambda rung: told.append(rung.epochs) or Verdict.CONTINUE)  # type: ignore[func-returns-value]
    assert told == [float(epoch) for epoch in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("verdict", [Verdict.PAUSE, Verdict.STOP])
@pytest.mark.parametrize("epoch", [1, 4, 5, 7])
def test_a_training_told_to_pause_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, verdict: Verdict
) -> None:
    """Whenever the last checkpoint was."""
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 3600.0)
    own, told = pipeline(tmp_path / "a.pt", "both"), list[float]()

    def report(rung: Rung) -> Verdict:
        told.append(rung.epochs)
        return verdict if rung.epochs == epoch else Verdict.CONTINUE

    trained, give_way = batches()
    with pytest.raises(Interrupted, match=f"told to {verdict}") as interrupted:
        own.fit(network(), give_way, report=report)
    assert (interrupted.value.verdict, interrupted.value.rung) == (verdict, Rung(epoch, EPOCHS))
    assert len(trained) == epoch * STEPS
    rest, give_way = batches()
    state = own.fit(network(), give_way, report=lambda rung: told.append(rung.epochs) or Verdict.CONTINUE).network  # type: ignore[func-returns-value]
    assert len(rest) == (EPOCHS - epoch) * STEPS
    assert told == [float(number) for number in range(1, EPOCHS + 1)]
    assert_same(straight("both")[1], state.state_dict())


# Rungs.


def seen(network: nn.Module) -> float:
    """Some number of what the network answers."""
    assert not network.training
    return float(network(torch.linspace(0, 1, 2 * 64).reshape(2, 1, 8, 8)).abs().sum())


def with_rungs(own: TrainingPipeline, looked: list[tuple[float, float, float]]) -> TrainingPipeline:
    """Rungs in every stage; each is noted with its epochs and a number of the copy, as it would be shipped."""

    def look(share: float, epochs: float, snapshot: Snapshot) -> Look:
        torch.rand(1)  # a look may draw what it likes
        looked.append((share, epochs, seen(preview(snapshot, lambda: None).eval())))
        return Look({"accuracy": looked[-1][2]}, copy_steps(own) / STEPS)

    return replace(own, rungs=(0.25, 0.5, 0.7, 0.9), look=look)


@pytest.mark.parametrize("plan", sorted(PLANS))
@pytest.mark.parametrize("extra", ["plain", "ema", "live", "hints", "everything"])
def test_a_rung_changes_nothing_of_the_training(tmp_path: Path, plan: str, extra: str) -> None:
    options, looked = EXTRAS.get(extra, {}), list[tuple[float, float, float]]()
    _, plain = fit(pipeline(tmp_path / "a.pt", plan, **options))
    _, watched = fit(with_rungs(pipeline(tmp_path / "b.pt", plan, **options), looked))
    assert_same(plain, watched)
    assert looked
    assert extra == "everything" or [share for share, *_ in looked] == [0.25, 0.5, 0.7, 0.9]
    assert all(np.isfinite(number) for *_, number in looked)


@pytest.mark.parametrize("plan", ["dense", "both"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.7, 0.9])
def test_paused_at_a_rung_it_ends_bit_for_bit_the_same(tmp_path: Path, plan: str, share: float) -> None:
    """It is looked at again when it goes on, to the same result, and reported again."""
    looked, told = list[tuple[float, float, float]](), list[Rung]()
    own = with_rungs(pipeline(tmp_path / "a.pt", plan), looked)

    def report(rung: Rung) -> Verdict:
        told.append(rung)
        return Verdict.PAUSE if rung.share == share and told.count(rung) == 1 else Verdict.CONTINUE

    with pytest.raises(Interrupted) as interrupted:
        own.fit(network(), batches()[1], report=report)
    at = round(share * EPOCHS)
    assert interrupted.value.rung == Rung(at, EPOCHS, share, {"accuracy": looked[-1][2]}, copy_steps(own) / STEPS)
    trained, give_way = batches()
    state = own.fit(network(), give_way, report=report).network.state_dict()
    assert len(trained) == (EPOCHS - at) * STEPS
    assert_same(straight(plan)[1], state)
    assert [rung.epochs for rung in told] == [*range(1, at + 1), *range(at, EPOCHS + 1)]
    again = [look for look in looked if look[0] == share]
    assert len(again) == 2
    assert again[0] == again[1]


def test_a_rung_among_frozen_norms_is_seen_the_same_after_a_death(tmp_path: Path) -> None:
    """Neither whether norms are frozen nor whether ranges move is in a checkpoint."""
    looked, shares = list[tuple[float, float, float]](), {"dense": 0.25, "pruned": 0.0, "quantized": 0.75}
    whole, killed = (
        replace(with_rungs(pipeline(tmp_path / name, "quantized", shares=shares), looked), rungs=(0.9,))
        for name in ("a.pt", "b.pt")
    )
    _, expected = fit(whole)

    def dies(*_: object) -> Look:
        raise Killed

    assert fit(replace(killed, look=dies))[1] is None
    assert_same(expected, fit(killed)[1])
    first, again = looked
    assert first == again


def test_a_copy_is_trained_on_the_images_of_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, train_stage = dict[str, int](), nas.training.preview.train_stage

    def spy(network: nn.Module, feed: Feed, recipe: Any, stage: Any, **options: Any) -> int:
        sizes[stage.name] = feed.images.shape[-1]
        return train_stage(network, feed, recipe, stage, **options)

    monkeypatch.setattr(nas.training.preview, "train_stage", spy)
    for plan in ("dense", "both"):
        own = pipeline(tmp_path / f"{plan}.pt", plan)
        small = replace(own.feed, images=own.feed.images[..., ::2, ::2].contiguous())
        fit(replace(with_rungs(own, []), small=small))
    assert sizes == {"dense": 4, "quantized": 8}


def test_killed_while_it_is_looked_at_it_is_looked_at_again(tmp_path: Path) -> None:
    looked = list[tuple[float, float, float]]()

    def killed(*_: object) -> Look:
        raise Killed

    own = replace(with_rungs(pipeline(tmp_path / "a.pt", "both"), looked), look=killed)
    trained, state = fit(own)
    assert (trained, state) == (round(0.25 * EPOCHS) * STEPS, None)
    rest, state = fit(with_rungs(own, looked))
    assert rest == EPOCHS * STEPS - trained
    assert [share for share, *_ in looked] == [0.25, 0.5, 0.7, 0.9]
    assert_same(straight("both")[1], state)


def test_a_copy_gets_the_whole_plan_and_a_falling_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is outstanding: channels are cut and layers quantized though the training is in its first stage."""
    stages = list[tuple[str, int, float, float]]()
    original = nas.training.preview.train_stage

    def watched(network: nn.Module, feed: Feed, recipe: Any, stage: Any, **options: Any) -> int:
        stages.append((stage.name, stage.steps, stage.start, stage.stop))
        return original(network, feed, recipe, stage, **options)

    monkeypatch.setattr(nas.training.preview, "train_stage", watched)
    shapes = list[list[tuple[int, ...]]]()

    def look(share: float, epochs: float, snapshot: Snapshot) -> Look:
        copied = preview(snapshot, lambda: None)
        shapes.append([tuple(tensor.shape) for tensor in copied.state_dict().values()])
        return Look({}, 0)

    own = replace(pipeline(tmp_path / "a.pt", "both"), rungs=(0.25, 0.9), look=look)
    end = own.fit(network(), batches()[1]).network.state_dict()
    assert shapes == [[tuple(tensor.shape) for tensor in end.values()]] * 2
    steps = copy_steps(own)
    assert steps == round(0.1 * EPOCHS * STEPS)
    assert stages == [("quantized", steps, 0.75, 1.0), ("quantized", steps, pytest.approx(7 / 8, abs=0.05), 1.0)]
    stages.clear()
    plain = replace(own, candidate=Candidate(architecture=ARCHITECTURE, plan=PLANS["dense"]), checkpoint=tmp_path / "b")
    plain.fit(network(), batches()[1])
    assert stages == [("dense", steps, 0.25, 1.0), ("dense", steps, pytest.approx(7 / 8), 1.0)]


def test_rungs_need_somebody_who_looks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rung 0.25: expected a function that looks at it, got none"):
        fit(replace(pipeline(tmp_path / "a.pt", "dense"), rungs=(0.25,)))


def test_a_checkpoint_of_the_version_before_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    fit(pipeline(file, "both"), 5 * STEPS + 1)
    state = torch.load(file, weights_only=True)
    state |= {"version": 2, "phase": state.pop("stage")}
    torch.save(state, file)
    rest, continued = fit(pipeline(file, "both"))
    assert rest == (EPOCHS - 5) * STEPS
    assert_same(straight("both")[1], continued)


@pytest.mark.parametrize("plan", ["dense", "both"])
def test_small_images_train_all_but_the_quantization_aware_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str
) -> None:
    own = pipeline(tmp_path / "checkpoint", plan)
    small = replace(own.feed, images=own.feed.images[..., ::2, ::2].contiguous())
    seen: dict[str, set[int]] = {}
    train_stage = nas.training.stage_run.train_stage

    def spy(network: nn.Module, feed: Feed, recipe: Any, stage: Any, **options: Any) -> int:
        seen.setdefault(stage.name, set()).add(feed.images.shape[-1])
        return train_stage(network, feed, recipe, stage, **options)

    monkeypatch.setattr(nas.training.stage_run, "train_stage", spy)
    trained = replace(own, small=small).fit(network(), lambda: None)
    expected = {"dense": {4}, "pruned": {4}, "quantized": {8}}
    assert seen == ({"dense": {4}} if plan == "dense" else expected)
    assert trained.epochs == EPOCHS
    assert trained.network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
