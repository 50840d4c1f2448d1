"""Training: how epochs are shared out, the learning rate, batches and their augmentation, divergence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nas.training.loop
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import ActivationQuantizer
from nas.data import Images
from nas.study import Training
from nas.training.augmentation import Augmentation, Batch, Feed, random_crop
from nas.training.inference import calibrate, estimate_batch_norm, predict
from nas.training.loop import MAX_GRADIENT_NORM, TrainingDiverged, epoch_seed, train_stage
from nas.training.optimization import make_optimizer
from nas.training.stages import PEAK, Stage, StageName, learning_rate, stages_of

NAMES: tuple[StageName, ...] = ("dense", "pruned", "quantized")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As a worker does for tiny images: barriers cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@st.composite
def shares(draw: st.DrawFn) -> tuple[float, float, float]:
    parts = [draw(st.integers(1, 20)), *draw(st.tuples(st.integers(0, 20), st.integers(0, 20)))]
    if sum(parts[1:]) == 0:
        parts[1] = 1
    return parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts)


@given(shares(), st.integers(1, 3000), st.booleans(), st.booleans())
def test_steps_are_shared_out(
    given_shares: tuple[float, float, float], steps: int, prunes: bool, quantizes: bool
) -> None:
    found = stages_of(Training(shares=given_shares), steps, prunes=prunes, quantizes=quantizes)
    happens = (True, prunes, quantizes)
    assert [phase.name for phase in found] == list(itertools.compress(NAMES, happens))
    assert sum(phase.steps for phase in found) == steps
    assert [found[0].start, *(phase.stop for phase in found)] == [*(phase.start for phase in found), 1.0]
    assert all((phase.stop - phase.start) * steps == pytest.approx(phase.steps) for phase in found)
    owed = {"dense": 0.0}
    for name, share, does in zip(NAMES, given_shares, happens, strict=True):
        heir = name if does else list(owed)[-1]  # a phase that changes nothing gives its share to the one before
        owed[heir] = owed.get(heir, 0.0) + share * steps
    assert all(abs(phase.steps - owed[phase.name]) < 1 for phase in found)


@pytest.mark.parametrize(
    ("shares", "epochs", "prunes", "quantizes", "expected"),
    [
        ((0.5, 0.2, 0.3), 20, True, True, [1000, 400, 600]),
        ((0.5, 0.2, 0.3), 20, False, True, [1400, 600]),
        ((0.5, 0.2, 0.3), 20, True, False, [1000, 1000]),
        ((0.5, 0.2, 0.3), 20, False, False, [2000]),
        ((0.5, 0.2, 0.3), 1, True, True, [50, 20, 30]),
        ((0.3, 0.55, 0.15), 2, True, True, [60, 110, 30]),
        ((0.3, 0.55, 0.15), 2, False, True, [170, 30]),
    ],
)
def test_known_shares(
    shares: tuple[float, float, float], epochs: int, prunes: bool, quantizes: bool, expected: list[int]
) -> None:
    """Of epochs of 100 steps; a short training has every phase of a long one, in proportion."""
    found = stages_of(Training(shares=shares), epochs * 100, prunes=prunes, quantizes=quantizes)
    assert [phase.steps for phase in found] == expected


def phase_of(name: StageName) -> Stage:
    """The first half, the next three tenths, the last fifth of a training of ten steps."""
    bounds = {"dense": (0.0, 0.5), "pruned": (0.5, 0.8), "quantized": (0.8, 1.0)}
    start, stop = bounds[name]
    return Stage(name, round(10 * (stop - start)), start, stop)


@pytest.mark.parametrize(
    ("cycle", "schedule", "phase", "progress", "expected"),
    [
        ("phase", "cosine", "dense", 0.0, 0.1),
        ("phase", "cosine", "dense", 0.5, 0.05),
        ("phase", "cosine", "dense", 1.0, 0.0),
        ("phase", "cosine", "pruned", 0.0, 0.05),
        ("phase", "cosine", "quantized", 0.5, 0.005),
        ("phase", "one_cycle", "dense", 0.0, 0.004),
        ("phase", "one_cycle", "dense", 0.125, 0.052),
        ("phase", "one_cycle", "dense", 0.25, 0.1),
        ("phase", "one_cycle", "dense", 0.625, 0.05),
        ("phase", "one_cycle", "quantized", 0.25, 0.01),
        ("phase", "one_cycle", "dense", 1.0, 0.0),
        ("whole", "linear", "dense", 0.0, 0.1),
        ("whole", "linear", "dense", 0.5, 0.075),
        ("whole", "linear", "pruned", 0.0, 0.05),
        ("whole", "linear", "pruned", 1.0, 0.02),
        ("whole", "linear", "quantized", 0.0, 0.01),  # 0.02, were it not held at a tenth of the peak
        ("whole", "linear", "quantized", 0.75, 0.005),
        ("whole", "one_cycle", "dense", 0.25, 0.052),
        ("whole", "one_cycle", "dense", 0.5, 0.1),
        ("whole", "cosine", "pruned", 0.0, 0.05),
        ("whole", "constant", "pruned", 0.3, 0.1),
    ],
)
def test_learning_rate_at_known_points(
    cycle: str, schedule: str, phase: StageName, progress: float, expected: float
) -> None:
    training = Training.model_validate({"cycle": cycle, "schedule": schedule, "learning_rate": 0.1})
    assert learning_rate(training, phase_of(phase), progress) == pytest.approx(expected, abs=1e-12)


@given(
    st.sampled_from(["whole", "phase"]),
    st.sampled_from(["cosine", "one_cycle"]),
    st.sampled_from(NAMES),
    st.floats(0, 0.99999, allow_subnormal=False),
)
def test_learning_rate_is_positive_and_continuous(cycle: str, schedule: str, name: StageName, progress: float) -> None:
    training = Training.model_validate({"cycle": cycle, "schedule": schedule, "learning_rate": 1.0})
    phase = phase_of(name)
    rate = learning_rate(training, phase, progress)
    assert 0 < rate <= (PEAK[name] if cycle == "phase" or name == "quantized" else 1)
    step = 1e-6
    assert abs(learning_rate(training, phase, min(progress + step, 1.0)) - rate) <= 8 * step


def feed_of(count: int, *, batch_size: int = 8, flip: bool = False, crop_padding: int = 0, seed: int = 0) -> Feed:
    """Images of random pixels, the label of each its index."""
    pixels = np.random.default_rng(count).integers(1, 256, (count, 2, 5, 6), dtype=np.uint8)
    images = Images(pixels, np.arange(count))
    augmentation = Augmentation(flip=flip, crop_padding=crop_padding)
    return Feed.of(images, torch.device("cpu"), batch_size=batch_size, seed=seed, augmentation=augmentation)


def order(batches: Sequence[Batch]) -> list[int]:
    return torch.cat([batch.labels for batch in batches]).tolist()


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 3))
def test_epoch_covers_every_image_once(count: int, batch_size: int, seed: int) -> None:
    feed = feed_of(count, batch_size=batch_size, seed=seed)
    batches = list(feed.epoch(seed))
    seen = order(batches)
    alone = count % batch_size == 1  # batch norm cannot use a last batch of one
    assert len(seen) == len(set(seen)) == count - alone
    assert len(batches) == feed.steps
    assert {len(batch.labels) for batch in batches[:-1]} <= {batch_size}
    for batch in batches:
        assert torch.equal(batch.indices, batch.labels)
        assert torch.equal(batch.images, feed.images[batch.labels].float() / 255)


def test_epochs_depend_on_seed_and_epoch_alone() -> None:
    feed = feed_of(40, flip=True, crop_padding=2)
    first, again = list(feed.epoch(3)), list(feed.epoch(3))
    assert order(first) == order(again)
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    others = [feed.epoch(4), feed_of(40, seed=1).epoch(3), feed_of(40).epoch(epoch_seed("pruned", 3))]
    assert len({tuple(order(list(batches))) for batches in others} | {tuple(order(first))}) == 4


def test_epoch_seeds_never_meet() -> None:
    seeds = [epoch_seed(phase, epoch) for phase in NAMES for epoch in range(2000)]
    assert len(set(seeds)) == len(seeds)


def test_plain_batches_are_neither_augmented_nor_single() -> None:
    feed = feed_of(17, flip=True, crop_padding=2)
    batches = list(feed.plain(8))
    assert [len(batch) for batch in batches] == [8, 8]
    rows = {tuple(image.flatten().tolist()) for image in feed.images.float() / 255}
    assert all(tuple(image.flatten().tolist()) in rows for batch in batches for image in batch)
    assert [len(batch) for batch in feed.plain(1)] == [8]


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_random_crop_against_slicing(count: int, padding: int, seed: int) -> None:
    batch = torch.randint(0, 256, (count, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    found = random_crop(batch, padding, torch.Generator().manual_seed(seed))
    padded = np.pad(batch.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = [
        [padded[i, :, y : y + 6, x : x + 7] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
        for i in range(count)
    ]
    for image, possible in zip(found.numpy(), windows, strict=True):
        assert any(np.array_equal(image, window) for window in possible)


def test_random_crop_gives_every_image_its_own_of_all_offsets() -> None:
    where = torch.arange(1, 26, dtype=torch.uint8).reshape(1, 1, 5, 5).expand(600, 1, 5, 5)
    found = random_crop(where, 1, torch.Generator().manual_seed(0))
    centres = torch.bincount(found[:, 0, 2, 2].long(), minlength=26)
    assert centres.nonzero().flatten().tolist() == [7, 8, 9, 12, 13, 14, 17, 18, 19]  # the nine around 13
    assert centres[centres > 0].min() > 600 / 9 / 2


def test_flip_mirrors_about_half_of_the_images() -> None:
    feed = feed_of(200, flip=True, batch_size=50)
    mirrored = 0
    for batch in feed.epoch(0):
        original = feed.images[batch.labels].float() / 255
        for image, plain in zip(batch.images, original, strict=True):
            assert torch.equal(image, plain) or torch.equal(image, plain.flip(2))
            mirrored += not torch.equal(image, plain)
    assert 70 <= mirrored <= 130


def small_network(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 3 * 4, classes))


def train(network: nn.Module, training: Training, steps: int = 6) -> tuple[list[int], list[float], int]:
    """Epochs reported, the learning rate of every batch, and how often way was given."""
    feed = feed_of(20)
    optimizer = make_optimizer(network, training)
    done: list[int] = []
    rates: list[float] = []
    ways: list[None] = []
    optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))  # type: ignore[arg-type]
    train_stage(
        network,
        feed,
        training,
        Stage("dense", steps),
        optimizer=optimizer,
        give_way=lambda: ways.append(None),
        after_epoch=done.append,
    )
    return done, rates, len(ways)


def test_every_batch_gives_way_and_follows_the_schedule() -> None:
    training = Training(schedule="cosine", learning_rate=0.1)
    done, rates, ways = train(small_network(20), training)
    assert (done, ways) == ([1, 2], 6)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)])


def test_the_last_epoch_of_a_phase_may_be_a_part_of_one() -> None:
    """Four steps of an epoch of three: the schedule ends with the phase, not with the epoch."""
    done, rates, ways = train(small_network(20), Training(schedule="cosine", learning_rate=0.1), steps=4)
    assert (done, ways) == ([1, 2], 4)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_learns(optimizer: str) -> None:
    network = small_network(20)
    training = Training.model_validate({"optimizer": optimizer, "learning_rate": 0.01, "schedule": "cosine"})
    train(network, training, steps=90)
    feed = feed_of(20)
    assert (predict(network, feed.images, batch=7).argmax(1) == feed.labels).float().mean() == 1


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_divergence_is_told(poison: float) -> None:
    network = small_network(20)
    with torch.no_grad():
        next(network.parameters()).fill_(poison)
    with pytest.raises(TrainingDiverged, match="loss is nan in epoch 1 of the dense phase"):
        train(network, Training())


def test_weights_decay_and_biases_do_not() -> None:
    network = small_network(20)
    groups = make_optimizer(network, Training(weight_decay=0.5)).param_groups
    decaying = {id(parameter) for parameter in groups[0]["params"]}
    assert decaying == {id(module.weight) for module in network if isinstance(module, nn.Conv2d | nn.Linear)}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.5, 0.0)
    assert len(decaying) + len(groups[1]["params"]) == len(list(network.parameters()))


def test_estimated_batch_norm_is_the_average_over_batches() -> None:
    network, feed = small_network(20), feed_of(17)
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    estimate_batch_norm(network, feed)
    with torch.no_grad():
        maps = [network[0](images) for images in feed.plain(8)]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, atol=1e-6)
    assert norm.momentum == 0.1


def test_batch_norm_is_estimated_where_only_one_pixel_and_one_image_are_left() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2))
    estimate_batch_norm(network, feed_of(9))
    assert torch.isfinite(predict(network, feed_of(9).images)).all()


def test_fitted_scales_follow_the_weights_and_learned_ones_are_left_to_training() -> None:
    """At a rate of nothing the first are fitted at each epoch, the others stay; ranges rest in the second half."""
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int4"}, learned=["int4"])
    calibrate(network, feed_of(20))
    fitted, learned = network.get_submodule("0"), network.get_submodule("3")
    expected = fitted.scales.clone()
    for layer in (fitted, learned):
        layer.scales.data.fill_(0.5)
    quantizers = [m for m in network.modules() if isinstance(m, ActivationQuantizer)]
    training, observing = Training(learning_rate=1e-30, weight_decay=0.0), list[set[bool]]()
    feed = feed_of(20)
    train_stage(
        network,
        feed,
        training,
        Stage("quantized", 3 * feed.steps),
        optimizer=make_optimizer(network, training),
        give_way=lambda: None,
        after_epoch=lambda _: observing.append({q.observing for q in quantizers}),
    )
    assert torch.allclose(fitted.scales, expected)
    assert torch.allclose(learned.scales, torch.tensor(0.5))
    assert observing == [{True}, {True}, {False}]


def test_observing_ends_with_the_phase() -> None:
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int8"})
    training, feed = Training(learning_rate=1e-30), feed_of(20)
    optimizer = make_optimizer(network, training)
    ways: Any = {"give_way": lambda: None, "after_epoch": lambda _: None}
    train_stage(network, feed, training, Stage("quantized", feed.steps), optimizer=optimizer, **ways)
    assert not any(m.observing for m in network.modules() if isinstance(m, ActivationQuantizer))


def test_quantization_aware_training_is_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(nas.training.loop, "autocast", lambda precision, _: used.append(precision) or nullcontext())
    training, feed = Training(), feed_of(20)
    for name in NAMES:
        network = small_network(20)
        ways: Any = {"give_way": lambda: None, "after_epoch": lambda _: None}
        train_stage(
            network, feed, training, Stage(name, 1), optimizer=make_optimizer(network, training),
            precision="bf16", **ways,
        )  # fmt: skip
    assert used == ["bf16", "bf16", "fp32"]


def test_no_step_goes_further_than_the_largest_gradient() -> None:
    network = small_network(20)
    with torch.no_grad():
        network[3].weight.mul_(1e4)
    before = [p.detach().clone() for p in network.parameters()]
    plain = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    train(network, Training.model_validate(plain), steps=1)
    moved = sum(float((p - old).detach().square().sum()) for p, old in zip(network.parameters(), before, strict=True))
    assert moved**0.5 == pytest.approx(MAX_GRADIENT_NORM, rel=1e-2)
