"""The training loop of every stage; its result depends on (seed, step, total steps) only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compressors.masking.layers import Held
from compressors.steps import retraining_of
from nas.errors import TrainingDiverged
from nas.study import Recipe
from nas.training.augmentation import Batch, Feed
from nas.training.divergence import learned_values, overflow_diverges, require_finite
from nas.training.losses import Loss
from nas.training.optimization import MovingAverage, add_l1, penalised
from nas.training.penalties import Penalty, penalties_of
from nas.training.precision import Precision, autocast
from nas.training.stages import Stage, learning_rate

MAX_GRADIENT_NORM = 5.0


class Within(NamedTuple):
    """A place within an epoch: the steps done of it, and the state of the generator that dropout draws from."""

    steps: int
    generator: Tensor


def train_stage(
    network: nn.Module,
    feed: Feed,
    recipe: Recipe,
    stage: Stage,
    *,
    start_epoch: int = 0,
    within: Within | None = None,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None = None,
    average: MovingAverage | None = None,
    precision: Precision = "fp32",
    give_way: Callable[[], None],
    after_epoch: Callable[[int], None],
    is_over: Callable[[], bool] = lambda: False,
    after_step: Callable[[int, Tensor], None] = lambda *_: None,
) -> int:
    """Train `network` in place through a stage, from its `start_epoch` on; returns the steps then done.

    `within` says how much of that epoch is done; what its beginning did to the network is then done, too.
    The last epoch of a stage may be a part of one. `give_way` is called before every batch, `after_epoch` with the
    number of finished epochs, `after_step` with the steps done and the loss of the last; no epoch begins once
    `is_over`. `average` follows every step. Raises TrainingDiverged where the loss, a weight, a statistic, a scale or
    the average is NaN or infinite after an epoch, or was at the start.
    """
    loss = loss or Loss(label_smoothing=recipe.label_smoothing)
    arithmetic: Precision = "fp32" if stage.retraining.in_fp32 else precision
    penalties = penalties_of(recipe, stage.name)
    step = _Step(network, loss, recipe, penalties=penalties, optimizer=optimizer, average=average, precision=arithmetic)
    epochs = math.ceil(stage.steps / feed.steps)
    require_finite(learned_values(network), f"before the {stage.name} stage")
    done = start_epoch
    while done < epochs and not is_over():
        network.train()
        first, generator = (within.steps, within.generator) if within is not None else (0, None)
        if within is None:
            stage.method.begin_epoch(network, done / epochs)
        within = None
        losses = torch.zeros((), device=feed.labels.device)
        seed = epoch_seed(stage.name, done)
        numbers = range(done * feed.steps + first, min((done + 1) * feed.steps, stage.steps))
        batches = islice(feed.epoch(seed), first, None)  # those before are drawn, too: each depends on the one before
        where = f"epoch {done + 1} of the {stage.name} stage"
        with _dropping(network, feed, seed, generator), overflow_diverges(where):
            for number, batch in zip(numbers, batches, strict=False):
                give_way()
                stage.method.before_step(network, number / stage.steps)
                losses += (own := step(batch, learning_rate(recipe, stage, number / stage.steps)))
                after_step(number + 1, own)
        done += 1
        if not torch.isfinite(losses):
            raise TrainingDiverged(f"{_what_diverged(losses, loss, feed, seed)} in {where}")
        require_finite([*learned_values(network), *_averaged(average)], f"after {where}")
        after_epoch(done)
    stage.method.end_stage(network)
    return min(done * feed.steps, stage.steps)


def _what_diverged(losses: Tensor, loss: Loss, feed: Feed, seed: int) -> str:
    """What is not finite: the teacher, if its answer to a batch of the same epoch is not, else the loss alone."""
    if loss.teacher is not None:
        for batch in feed.epoch(seed):
            if not torch.isfinite(loss.teacher(batch, loss.temperature)).all():
                return "NaN or infinity in the teacher's logits"
    return f"loss is {float(losses)}"


def _averaged(average: MovingAverage | None) -> Iterator[tuple[str, Tensor]]:
    for tensor in average.tensors if average is not None else ():
        yield "the moving average of weights", tensor


class _Step:
    """One optimizer step; nothing in it waits for the device."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        recipe: Recipe,
        *,
        penalties: Sequence[tuple[float, Penalty]],
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        precision: Precision,
    ) -> None:
        self._network, self._loss, self._optimizer, self._average = network, loss, optimizer, average
        self._parameters, self._weights, self._l1 = list(network.parameters()), penalised(network), recipe.l1
        self._parameters += loss.projections
        self._precision, self._penalties, self._hold = precision, penalties, Held(network)

    def __call__(self, batch: Batch, rate: float) -> Tensor:
        """Train on a batch; returns its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with autocast(self._precision, batch.images.device):
            logits, held = self._loss.forward(self._network, batch.images)
        loss = self._loss(logits.float(), batch, held)
        for weight, penalty in self._penalties:
            loss = loss + weight * penalty(self._network)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._l1:
            add_l1(self._weights, self._l1)
        nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM, foreach=True)
        self._optimizer.step()
        self._hold()
        if self._average is not None:
            self._average.update()
        return loss.detach()


@contextmanager
def _dropping(network: nn.Module, feed: Feed, seed: int, generator: Tensor | None) -> Iterator[None]:
    """Seed torch's global generator, from which dropout draws, or put it in a state, and restore its own afterwards."""
    drops = any(isinstance(module, nn.Dropout) for module in network.modules())
    device = feed.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], enabled=drops):
        if drops and device.type == "cuda":
            torch.cuda.manual_seed(feed.seed * 1_000_003 + seed)
        elif drops:
            torch.default_generator.manual_seed(feed.seed * 1_000_003 + seed)
        if drops and generator is not None:
            _put_generator(device, generator)
        yield


def generator_of(device: torch.device) -> Tensor:
    """The state of torch's global generator, from which dropout on a device draws."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _put_generator(device: torch.device, state: Tensor) -> None:
    """That of another kind of device, where the training began, fits no generator here: the epoch's own seed stays."""
    if len(state) != len(generator_of(device)):
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def epoch_seed(stage: str, epoch: int) -> int:
    """A seed of its own for every epoch of every stage."""
    return retraining_of(stage).number * 10_000 + epoch
