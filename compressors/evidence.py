"""What a training knows of a network besides its weights: for rankings by data, and returns to earlier weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Evidence:
    """Data, gradients' memory and earlier weights of the network that a step is about to change.

    batches: images (N, C, H, W) and labels (N,), not augmented; may be passed through again and again. momenta: the
    optimizer's first moments by parameter's name, those of the stage before; empty where it keeps none. loss: logits
    and labels -> a scalar, the mean over the batch. early: weights and statistics by name as they were early in the
    dense stage, where the study goes back to them. `seed` is the training's.
    """

    batches: Iterable[tuple[Tensor, Tensor]]
    momenta: Mapping[str, Tensor] = field(default_factory=dict)
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    early: Mapping[str, Tensor] | None = None
    seed: int = 0


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside the context the network is in eval mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
