"""Which weights become zero, as pure functions of their scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def kept_mask(scores: Tensor, zeros: int) -> Tensor:
    """A boolean tensor of the scores' shape, False at the `zeros` lowest; of equal scores the first go."""
    mask = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[torch.argsort(scores.flatten(), stable=True)[:zeros]] = False
    return mask.reshape(scores.shape)


def count_at_most(weight: Tensor, threshold: float) -> int:
    """How many weights have a size of at most the threshold."""
    return int((weight.detach().abs() <= threshold).sum())


def shared_out(scores: Mapping[str, Tensor], zeros: int, most: Mapping[str, int]) -> dict[str, int]:
    """How many of each layer's weights are among the `zeros` lowest of all, no layer losing more than its `most`.

    Fewer than `zeros` where all layers together may not lose so many.
    """
    free = {name: scores[name].detach().flatten().sort().values[: most[name]].double().cpu() for name in scores}
    owners = torch.cat([torch.full((len(values),), i) for i, values in enumerate(free.values())])
    lowest = torch.argsort(torch.cat(list(free.values())), stable=True)[:zeros]
    counts = torch.bincount(owners[lowest], minlength=len(free))
    return dict(zip(free, counts.tolist(), strict=True))
