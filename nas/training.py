"""One training loop, used dense, after pruning and quantization-aware; a function of (seed, step, total steps)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressors.quantization import observe, refresh_scales
from nas.augmentation import Batch, Feed, as_input
from nas.losses import Loss
from nas.optimization import MovingAverage, add_l1, penalised, rate_factor
from nas.precision import Precision, autocast
from nas.study import Training

PhaseName = Literal["dense", "pruned", "quantized"]
# Peak learning rate of a phase as a fraction of the dense one. Without batch norm, which is folded by then,
# quantization-aware training bears no more.
PEAK = {"dense": 1.0, "pruned": 0.5, "quantized": 0.1}
CALIBRATION_BATCHES = 8
MAX_GRADIENT_NORM = 5.0


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Phase:
    """A part of the training: what has been done to the network when it begins, its steps, and where in the whole it
    lies, from `start` to `stop`.
    """

    name: PhaseName
    steps: int
    start: float = 0.0
    stop: float = 1.0


def phases(training: Training, steps: int, *, prunes: bool, quantizes: bool) -> tuple[Phase, ...]:
    """Split the steps of a whole training by the study's shares, so that a short one has every phase of a long one.

    A phase that changes nothing gives its share to the one before.
    """
    dense, pruned, quantized = training.shares
    if not quantizes:
        pruned, quantized = pruned + quantized, 0.0
    if not prunes:
        dense, pruned = dense + pruned, 0.0
    active = [("dense", dense, True), ("pruned", pruned, prunes), ("quantized", quantized, quantizes)]
    counts = _largest_remainder([share for _, share, _ in active], steps)
    ends = [end / steps for end in itertools.accumulate(counts)]
    return tuple(
        Phase(name, count, start, stop)  # type: ignore[arg-type]
        for (name, _, happens), count, start, stop in zip(active, counts, [0.0, *ends], ends, strict=False)
        if happens
    )


def _largest_remainder(shares: list[float], total: int) -> list[int]:
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def learning_rate(training: Training, phase: Phase, progress: float) -> float:
    """The rate at `progress` in [0, 1) of a phase."""
    if training.cycle == "phase":
        return training.peak_learning_rate * PEAK[phase.name] * rate_factor(training, progress)
    factor = rate_factor(training, phase.start + progress * (phase.stop - phase.start))
    return training.peak_learning_rate * (min(factor, PEAK["quantized"]) if phase.name == "quantized" else factor)


def train_phase(
    network: nn.Module,
    feed: Feed,
    training: Training,
    phase: Phase,
    *,
    start_epoch: int = 0,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None = None,
    average: MovingAverage | None = None,
    precision: Precision = "fp32",
    give_way: Callable[[], None],
    after_epoch: Callable[[int], None],
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Train `network` in place through a phase, from its `start_epoch` on; returns the steps then done.

    The last epoch of a phase may be a part of one. `give_way` is called before every batch, `after_epoch` with the
    number of finished epochs; none begins once `is_over`. `average` follows every step. Raises TrainingDiverged at NaN
    or infinity.
    """
    loss = loss or Loss(label_smoothing=training.label_smoothing)
    step = _Step(network, loss, training, optimizer, average, precision if phase.name != "quantized" else "fp32")
    epochs = math.ceil(phase.steps / feed.steps)
    done = start_epoch
    while done < epochs and not is_over():
        network.train()
        if phase.name == "quantized":
            refresh_scales(network, learned=False)
            observe(network, done < (epochs + 1) // 2)
        losses = torch.zeros((), device=feed.labels.device)
        seed = epoch_seed(phase.name, done)
        numbers = range(done * feed.steps, min((done + 1) * feed.steps, phase.steps))
        with _dropping(network, feed, seed):
            for number, batch in zip(numbers, feed.epoch(seed), strict=False):
                give_way()
                losses += step(batch, learning_rate(training, phase, number / phase.steps))
        done += 1
        if not torch.isfinite(losses):
            raise TrainingDiverged(f"loss is {float(losses)} in epoch {done} of the {phase.name} phase")
        after_epoch(done)
    observe(network, False)
    return min(done * feed.steps, phase.steps)


class _Step:
    """One optimizer step; nothing in it waits for the device."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        training: Training,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        precision: Precision,
    ) -> None:
        self._network, self._loss, self._optimizer, self._average = network, loss, optimizer, average
        self._parameters, self._weights, self._l1 = list(network.parameters()), penalised(network), training.l1
        self._precision = precision

    def __call__(self, batch: Batch, rate: float) -> Tensor:
        """Train on a batch; returns its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with autocast(self._precision, batch.images.device):
            logits = self._network(batch.images)
        loss = self._loss(logits.float(), batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._l1:
            add_l1(self._weights, self._l1)
        nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM, foreach=True)
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return loss.detach()


@contextmanager
def _dropping(network: nn.Module, feed: Feed, seed: int) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeded within, as it was afterwards."""
    drops = any(isinstance(module, nn.Dropout) for module in network.modules())
    device = feed.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], enabled=drops):
        if drops and device.type == "cuda":
            torch.cuda.manual_seed(feed.seed * 1_000_003 + seed)
        elif drops:
            torch.default_generator.manual_seed(feed.seed * 1_000_003 + seed)
        yield


def epoch_seed(phase: PhaseName, epoch: int) -> int:
    """Every epoch of every phase its own order."""
    return list(PEAK).index(phase) * 10_000 + epoch


@torch.no_grad()
def calibrate(network: nn.Module, feed: Feed) -> None:
    """Set activation ranges and weight scales from training batches; twice, since bias grids depend on the ranges."""
    network.eval()
    for _ in range(2):
        observe(network, True)
        for images in feed.plain(CALIBRATION_BATCHES):
            network(images)
        observe(network, False)
        refresh_scales(network)


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, feed: Feed) -> None:
    """Recompute running statistics for the weights as they are, as plain averages over training batches.

    After pruning they are of other channels; after a training they are of weights that have moved since, by much where
    it was short (Wu and Johnson 2021, arXiv:2105.07576).
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for images in feed.plain(CALIBRATION_BATCHES):
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, *, batch: int = 256) -> Tensor:
    """Logits of uint8 images, on the CPU."""
    network.eval()
    return torch.cat([network(as_input(part)).cpu() for part in torch.split(images, batch)])
