"""How weights move: learning rate schedules, optimizers, the L1 penalty, and the moving average of weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nas.study import Recipe

# Where the warm-up begins, as a fraction of the peak.
FIRST_RATE = 0.04


def rate_factor(recipe: Recipe, progress: float) -> float:
    """The learning rate at `progress` in [0, 1) of a schedule, as a fraction of its peak.

    A linear warm-up comes first; cosine, linear and exponential schedules run over the rest; milestones are shares of
    the whole schedule.
    """
    warm_up = recipe.warm_up_share
    if progress < warm_up:
        return FIRST_RATE + (1 - FIRST_RATE) * progress / warm_up
    left = (progress - warm_up) / (1 - warm_up)
    match recipe.schedule:
        case "one_cycle" | "cosine":
            return 0.5 * (1 + math.cos(math.pi * left))
        case "linear":
            return 1 - left
        case "exponential":
            return float(recipe.gamma**left)
        case "step":
            passed = sum(progress >= milestone for milestone in recipe.milestones)
            return float(recipe.gamma**passed)
        case "constant":
            return 1.0


def first_moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's first moments by parameter's name; of rmsprop and sgd its momentum. Empty where it keeps none."""
    found = {}
    for name, parameter in network.named_parameters():
        state = optimizer.state.get(parameter, {})
        moment = state.get("exp_avg", state.get("momentum_buffer"))
        if moment is not None:
            found[name] = moment.detach()
    return found


def penalised(network: nn.Module) -> list[nn.Parameter]:
    """Weights of convolutions and linear layers: what weight decay and the L1 penalty act on."""
    return [p for p in network.parameters() if p.requires_grad and p.dim() > 1]


def make_optimizer(network: nn.Module, recipe: Recipe, beside: Sequence[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """The study's optimizer; weights decay, biases and batch norms do not. SGD's momentum is Nesterov's.

    `beside` are weights that are trained with the network and are no part of it.
    """
    others = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [
        {"params": [*penalised(network), *beside], "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate, momentum = recipe.peak_learning_rate, recipe.momentum
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=momentum, foreach=True)


@torch.no_grad()
def add_l1(weights: list[nn.Parameter], strength: float) -> None:
    """Add the subgradient of strength * sum |w| to the gradients."""
    used = [(w, w.grad) for w in weights if w.grad is not None]
    signs = torch._foreach_sign([w for w, _ in used])
    torch._foreach_add_([gradient for _, gradient in used], signs, alpha=strength)


class MovingAverage:
    """An exponential moving average of weights and batch norm statistics (Polyak and Juditsky 1992).

    The decay grows as (1 + n) / (10 + n) up to `decay` over the updates n, so that in a short training the
    first weights have little influence. Other buffers are not averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        norms = (m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))
        statistics = itertools.chain.from_iterable((norm.running_mean, norm.running_var) for norm in norms)
        self._live: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self._live += [tensor for tensor in statistics if tensor is not None]
        self._average = [tensor.detach().clone() for tensor in self._live]
        self._decay, self._updates = decay, 0

    @property
    def tensors(self) -> list[Tensor]:
        """The averages: of the parameters, then of the batch norms' means and variances."""
        return self._average

    @torch.no_grad()
    def update(self) -> None:
        """After an optimizer step."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._average, [tensor.detach() for tensor in self._live], 1 - decay)
        self._updates += 1

    @torch.no_grad()
    def apply(self) -> None:
        """Copy the average into the network."""
        torch._foreach_copy_(self._live, self._average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the context the network has the average; afterwards its own weights again."""
        kept = [tensor.detach().clone() for tensor in self._live]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, kept)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        torch._foreach_copy_(self._average, state["average"])
        self._updates = int(state["updates"])
