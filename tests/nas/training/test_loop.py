"""The training loop: schedules, rates, scales, arithmetic, and a divergence told as such."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from trainings import feed_of, recipe_of, small_network

import nas.training.loop
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.calibration import calibrate
from compressors.quantization.insertion import prepare
from nas.errors import TrainingDiverged
from nas.study import Recipe
from nas.training.inference import CalibrationBatches, predict
from nas.training.loop import MAX_GRADIENT_NORM, _dropping, epoch_seed, generator_of, train_stage
from nas.training.losses import Loss, network_teacher, recorded_teacher
from nas.training.optimization import MovingAverage, make_optimizer
from nas.training.stages import Stage

NAMES = ("dense", "pruned", "quantized")


def test_epoch_seeds_never_meet() -> None:
    seeds = [epoch_seed(stage, epoch) for stage in NAMES for epoch in range(2000)]
    assert len(set(seeds)) == len(seeds)


def train(network: nn.Module, recipe: Recipe, steps: int = 6) -> tuple[list[int], list[float], int]:
    """Epochs reported, the learning rate of every batch, and how often way was given."""
    feed = feed_of(20)
    optimizer = make_optimizer(network, recipe)
    done: list[int] = []
    rates: list[float] = []
    ways: list[None] = []
    optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))  # type: ignore[arg-type]
    train_stage(
        network,
        feed,
        recipe,
        Stage("dense", steps),
        optimizer=optimizer,
        give_way=lambda: ways.append(None),
        after_epoch=done.append,
    )
    return done, rates, len(ways)


def test_every_batch_gives_way_and_follows_the_schedule() -> None:
    recipe = recipe_of(schedule="cosine", learning_rate=0.1)
    done, rates, ways = train(small_network(20), recipe)
    assert (done, ways) == ([1, 2], 6)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)])


def test_the_last_epoch_of_a_stage_may_be_a_part_of_one() -> None:
    """Four steps of an epoch of three: the schedule ends with the stage, not with the epoch."""
    done, rates, ways = train(small_network(20), recipe_of(schedule="cosine", learning_rate=0.1), steps=4)
    assert (done, ways) == ([1, 2], 4)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])


def test_every_step_is_told_with_its_loss() -> None:
    network, recipe, feed = small_network(20), recipe_of(schedule="constant", learning_rate=0.01), feed_of(20)
    told: list[tuple[int, float]] = []
    options = {"optimizer": make_optimizer(network, recipe), "give_way": lambda: None, "after_epoch": lambda _: None}
    train_stage(
        network,
        feed,
        recipe,
        Stage("dense", 7),
        start_epoch=1,
        after_step=lambda done, loss: told.append((done, float(loss))),
        **options,  # type: ignore[arg-type]
    )
    assert [done for done, _ in told] == [4, 5, 6, 7]  # an epoch of three steps was done before
    assert all(0 < loss < 10 for _, loss in told)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_learns(optimizer: str) -> None:
    network = small_network(20)
    recipe = recipe_of(optimizer=optimizer, learning_rate=0.01, schedule="cosine")
    train(network, recipe, steps=90)
    feed = feed_of(20)
    assert (predict(network, feed.images, batch=7).argmax(1) == feed.labels).float().mean() == 1


def train_one_epoch(network: nn.Module, stage: str = "dense", **options: Any) -> None:
    """With a rate of nothing; after_epoch must not be called, or a checkpoint would keep what has diverged."""
    recipe, feed = recipe_of(learning_rate=1e-30), feed_of(20)
    optimizer = make_optimizer(network, recipe)
    ways: Any = {"give_way": lambda: None, "after_epoch": lambda _: pytest.fail("went on")}
    train_stage(network, feed, recipe, Stage(stage, feed.steps), optimizer=optimizer, **ways, **options)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e39), ("adamw", 1e39), ("adam", 1e39), ("rmsprop", 3e38)])
def test_an_overflow_in_the_last_step_is_found_in_the_weights(optimizer: str, rate: float) -> None:
    """The loss of that step is finite: it is that of the weights before."""
    recipe = recipe_of(optimizer=optimizer, learning_rate=rate, schedule="constant")
    with pytest.raises(TrainingDiverged, match=r"in 0.weight and \d more after epoch 1 of the dense stage"):
        train(small_network(20), recipe, steps=1)


@pytest.mark.parametrize(
    "keys",
    [
        {"optimizer": "rmsprop", "learning_rate": 1e39},
        {"optimizer": "rmsprop", "weight_decay": 1e300},
        {"l1": 1e300},
    ],
)
def test_a_number_that_torch_refuses_is_a_divergence(keys: dict[str, Any]) -> None:
    with pytest.raises(TrainingDiverged, match=r"a number is too large for float32 in epoch 1 of the dense stage"):
        train(small_network(20), recipe_of(schedule="constant", **keys), steps=1)


def test_a_temperature_that_overflows_is_a_divergence() -> None:
    loss = Loss(teacher=recorded_teacher(torch.zeros(20, 20)), weight=0.5, temperature=1e300)
    with pytest.raises(TrainingDiverged, match=r"a number is too large for float32 in epoch 1 of the dense stage"):
        train_one_epoch(small_network(20), loss=loss)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_trained(poison: float) -> None:
    network = small_network(20)
    with torch.no_grad():
        network[3].weight[0, 0] = poison
    with pytest.raises(TrainingDiverged, match=r"NaN or infinity in 3.weight before the pruned stage"):
        train_one_epoch(network, "pruned")


def test_a_loss_that_is_not_finite_is_told() -> None:
    with pytest.raises(TrainingDiverged, match=r"training diverged: loss is nan in epoch 1 of the dense stage"):
        train_one_epoch(small_network(20), loss=Loss(class_weights=torch.full((20,), 3e38), label_smoothing=0.0))


def test_statistics_that_overflow_are_told() -> None:
    """Such a batch norm divides by infinity: its outputs, and so the loss, stay finite in training."""
    network = small_network(20)
    with torch.no_grad():
        network[0].weight.mul_(1e30)
    with pytest.raises(TrainingDiverged, match=r"NaN or infinity in 1.running_var after epoch 1 of the dense stage"):
        train_one_epoch(network)


def test_scales_that_are_not_finite_are_told() -> None:
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int8"})
    network.get_submodule("3").scales.fill_(torch.inf)
    with pytest.raises(TrainingDiverged, match=r"NaN or infinity in 3.scales before the quantized stage"):
        train_one_epoch(network, "quantized")


def test_an_average_that_is_not_finite_is_told() -> None:
    network = small_network(20)
    average = MovingAverage(network, 0.9)
    average.tensors[0].fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match=r"in the moving average of weights after epoch 1 of the dense stage"):
        train_one_epoch(network, average=average)


def test_a_teacher_that_is_not_finite_is_told() -> None:
    teaching = small_network(20)
    with torch.no_grad():
        teaching[3].weight.fill_(torch.inf)
    recorded = torch.zeros(20, 20)
    recorded[7, 3] = torch.nan
    for teacher in (network_teacher(teaching), recorded_teacher(recorded)):
        with pytest.raises(TrainingDiverged, match=r"in the teacher's logits in epoch 1 of the dense stage"):
            train_one_epoch(small_network(20), loss=Loss(teacher=teacher, weight=0.5))


def test_fitted_scales_follow_the_weights_and_learned_ones_are_left_to_training() -> None:
    """At a rate of nothing the first are fitted at each epoch, the others stay; ranges rest in the second half."""
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int4"}, learned=["int4"])
    calibrate(network, CalibrationBatches(feed_of(20)))
    fitted, learned = network.get_submodule("0"), network.get_submodule("3")
    expected = fitted.scales.clone()
    for layer in (fitted, learned):
        layer.scales.data.fill_(0.5)
    quantizers = [m for m in network.modules() if isinstance(m, ActivationQuantizer)]
    recipe, observing = recipe_of(learning_rate=1e-30, weight_decay=0.0), list[set[bool]]()
    feed = feed_of(20)
    train_stage(
        network,
        feed,
        recipe,
        Stage("quantized", 3 * feed.steps),
        optimizer=make_optimizer(network, recipe),
        give_way=lambda: None,
        after_epoch=lambda _: observing.append({q.observing for q in quantizers}),
    )
    assert torch.allclose(fitted.scales, expected)
    assert torch.allclose(learned.scales, torch.tensor(0.5))
    assert observing == [{True}, {True}, {False}]


def test_observing_ends_with_the_stage() -> None:
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int8"})
    recipe, feed = recipe_of(learning_rate=1e-30), feed_of(20)
    optimizer = make_optimizer(network, recipe)
    ways: Any = {"give_way": lambda: None, "after_epoch": lambda _: None}
    train_stage(network, feed, recipe, Stage("quantized", feed.steps), optimizer=optimizer, **ways)
    assert not any(m.observing for m in network.modules() if isinstance(m, ActivationQuantizer))


def test_quantization_aware_training_is_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(nas.training.loop, "autocast", lambda precision, _: used.append(precision) or nullcontext())
    recipe, feed = recipe_of(), feed_of(20)
    for name in NAMES:
        network = small_network(20)
        ways: Any = {"give_way": lambda: None, "after_epoch": lambda _: None}
        train_stage(
            network, feed, recipe, Stage(name, 1), optimizer=make_optimizer(network, recipe),
            precision="bf16", **ways,
        )  # fmt: skip
    assert used == ["bf16", "bf16", "fp32"]


CPU = torch.device("cpu")


def drawn(network: nn.Module, generator: torch.Tensor | None) -> float:
    """The first number that dropout would draw."""
    with _dropping(network, feed_of(20), 7, generator):
        return float(torch.rand(()))


def test_dropout_goes_on_from_a_state_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    before, other = generator_of(CPU), torch.Generator().manual_seed(5).get_state()
    with _dropping(nn.Identity(), feed_of(20), 7, other):  # without dropout it is none of its business
        assert torch.equal(generator_of(CPU), before)
    assert torch.equal(generator_of(CPU), before)
    assert drawn(nn.Dropout(), other) == float(torch.rand((), generator=torch.Generator().manual_seed(5)))
    assert torch.equal(generator_of(CPU), before)


def test_a_state_from_another_kind_of_device_is_as_none() -> None:
    """A trial whose node died goes on elsewhere; a GPU's generator has sixteen bytes."""
    assert drawn(nn.Dropout(), torch.zeros(16, dtype=torch.uint8)) == drawn(nn.Dropout(), None)


def test_no_step_goes_further_than_the_largest_gradient() -> None:
    network = small_network(20)
    with torch.no_grad():
        network[3].weight.mul_(1e4)
    before = [p.detach().clone() for p in network.parameters()]
    plain = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    train(network, recipe_of(**plain), steps=1)
    moved = sum(float((p - old).detach().square().sum()) for p, old in zip(network.parameters(), before, strict=True))
    assert moved**0.5 == pytest.approx(MAX_GRADIENT_NORM, rel=1e-2)
