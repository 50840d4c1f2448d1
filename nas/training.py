"""One training loop, used dense, after pruning and quantization-aware; a function of (seed, step, total steps)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.quantization import observe, refresh_scales
from nas.data import Images
from nas.study import Training

PhaseName = Literal["dense", "pruned", "quantized"]
# Peak learning rate of a phase as a fraction of the dense one: the later phases repair, they do not learn anew.
PEAK = {"dense": 1.0, "pruned": 0.5, "quantized": 0.1}
CALIBRATION_BATCHES = 8
WARM_UP = 0.25
MAX_GRADIENT_NORM = 5.0


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Phase:
    """A part of the training: its epochs and what has been done to the network when it begins."""

    name: PhaseName
    epochs: int


def phases(training: Training, epochs: int, *, prunes: bool, quantizes: bool) -> tuple[Phase, ...]:
    """Split the epochs by the study's shares; a phase that changes nothing gives its share to the one before."""
    dense, pruned, quantized = training.shares
    if not quantizes:
        pruned, quantized = pruned + quantized, 0.0
    if not prunes:
        dense, pruned = dense + pruned, 0.0
    active = [("dense", dense, True), ("pruned", pruned, prunes), ("quantized", quantized, quantizes)]
    counts = _largest_remainder([share for _, share, _ in active], epochs)
    return tuple(
        Phase(name, count)  # type: ignore[arg-type]
        for (name, _, happens), count in zip(active, counts, strict=True)
        if happens
    )


def _largest_remainder(shares: list[float], total: int) -> list[int]:
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def learning_rate(training: Training, phase: PhaseName, progress: float) -> float:
    """The rate at `progress` in [0, 1) of a phase: half a cosine, or one cycle with a linear warm-up."""
    peak = training.peak_learning_rate * PEAK[phase]
    if training.schedule == "one_cycle":
        if progress < WARM_UP:
            return peak * (0.04 + 0.96 * progress / WARM_UP)
        progress = (progress - WARM_UP) / (1 - WARM_UP)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW; weights decay, biases and batch norms do not."""
    weights = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [
        {"params": weights, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.peak_learning_rate, fused=True)
    return torch.optim.SGD(
        groups,
        lr=training.peak_learning_rate,
        momentum=training.momentum,
        nesterov=training.momentum > 0,
        fused=True,
    )


@dataclass(frozen=True)
class Feed:
    """Training images on the device, and how batches are drawn and augmented."""

    images: Tensor
    labels: Tensor
    batch_size: int
    flip: bool
    crop_padding: int
    seed: int

    @classmethod
    def of(cls, images: Images, device: torch.device, **options: Any) -> Feed:
        pixels = torch.from_numpy(images.images).to(device)
        return cls(pixels, torch.from_numpy(images.labels).to(device), **options)

    @property
    def steps(self) -> int:
        """Batches per epoch; a last one of a single image is left out, since batch norm cannot use it."""
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest > 1)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of one epoch, float32 in [0, 1]; the same for the same (seed, epoch)."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.labels), generator=random).to(self.images.device)
        for chosen in torch.split(order, self.batch_size)[: self.steps]:
            yield as_input(self._augment(self.images[chosen], random)), self.labels[chosen]

    def plain(self, batches: int) -> Iterator[Tensor]:
        """The first batches of a fixed order, not augmented: for calibration."""
        random = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.labels), generator=random).to(self.images.device)
        for chosen in torch.split(order, self.batch_size)[: min(batches, self.steps)]:
            yield as_input(self.images[chosen])

    def _augment(self, batch: Tensor, random: torch.Generator) -> Tensor:
        if self.crop_padding:
            batch = random_crop(batch, self.crop_padding, random)
        if self.flip:
            flipped = torch.rand(len(batch), generator=random).to(batch.device) < 0.5
            batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        return batch


def random_crop(batch: Tensor, padding: int, random: torch.Generator) -> Tensor:
    """Shift every image by up to `padding` pixels each way, with its own offset; the border repeats black."""
    n, _, height, width = batch.shape
    padded = F.pad(batch, (padding,) * 4)
    offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=random).to(batch.device)
    rows = offsets[0] + torch.arange(height, device=batch.device)
    columns = offsets[1] + torch.arange(width, device=batch.device)
    picked = padded[torch.arange(n, device=batch.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def as_input(batch: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float32 in [0, 1], channels last in memory."""
    return batch.to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)


def train_phase(
    network: nn.Module,
    feed: Feed,
    training: Training,
    phase: Phase,
    *,
    start_epoch: int = 0,
    optimizer: torch.optim.Optimizer,
    give_way: Callable[[], None],
    after_epoch: Callable[[int], None],
) -> None:
    """Train `network` in place through a phase, from `start_epoch` on. Raises TrainingDiverged at NaN or infinity.

    `give_way` is called before every batch, `after_epoch` with the number of finished epochs.
    """
    total = phase.epochs * feed.steps
    for epoch in range(start_epoch, phase.epochs):
        network.train()
        if phase.name == "quantized":
            refresh_scales(network, learned=False)
            observe(network, epoch < (phase.epochs + 1) // 2)
        losses = torch.zeros((), device=feed.labels.device)
        for step, (images, labels) in enumerate(feed.epoch(epoch_seed(phase.name, epoch)), epoch * feed.steps):
            give_way()
            rate = learning_rate(training, phase.name, step / total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = F.cross_entropy(network(images), labels, label_smoothing=training.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM, foreach=True)
            optimizer.step()
            losses += loss.detach()
        if not torch.isfinite(losses):
            raise TrainingDiverged(f"loss is {float(losses)} in epoch {epoch + 1} of the {phase.name} phase")
        after_epoch(epoch + 1)
    observe(network, False)


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
    """Recompute running statistics after channels went, as plain averages over training batches."""
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
