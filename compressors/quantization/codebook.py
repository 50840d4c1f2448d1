"""Weights that share a few values (Han et al. 2016, Deep Compression, arXiv:1510.00149).

The values of a layer are entries of a codebook, found by k-means. They are then trained: an entry's gradient is summed
over the weights that have it, and divided by how many an entry has on average; undivided, with a learning rate that is
right for weights, digits are no longer told apart. Weights move as well, straight through, and take the entry that is
nearest in every step. With three entries this is trained ternary quantization, whose two scales are learned (Zhu et al.
2017, arXiv:1612.01064); a row `Format("ttq", 2, range(-1, 2), "codebook")` of FORMATS has it.

An entry that is exactly 0 stays: it is that of weights that are masked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compressors.quantization.numerics import DEAD

LARGEST = 127  # code of an entry
BINS = 128
ROUNDS = 100  # of k-means, which mostly stands still after twenty


def kmeans(values: Tensor, count: int) -> Tensor:
    """Centres (count,) of k-means on numbers, ascending: Lloyd's algorithm from the best partition of a fine histogram.

    Where numbers are exactly 0, one centre is, and the others are those of the rest. Computed on the CPU, where sums
    are the same each time.
    """
    flat = values.detach().flatten().double().cpu()
    rest = flat[flat != 0]
    if len(rest) == len(flat):
        return _centres(flat, count).to(values)
    centres = torch.cat([_centres(rest, count - 1) if len(rest) else rest.new_zeros(count - 1), rest.new_zeros(1)])
    return centres.sort().values.to(values)


def _centres(numbers: Tensor, count: int) -> Tensor:
    ordered = numbers.sort().values
    return lloyd(ordered, best_partition(ordered, count))


def best_partition(ordered: Tensor, count: int) -> Tensor:
    """Means (count,) of runs of sorted numbers, as many as asked for, with the least squared error of all that end at
    an edge of a histogram: of evenly wide or of evenly filled bins. Found by dynamic programming.
    """
    even = torch.linspace(0, 1, BINS + 1, dtype=ordered.dtype, device=ordered.device)
    wide = torch.searchsorted(ordered, torch.lerp(ordered[0], ordered[-1], even))
    filled = (even * len(ordered)).round().long()
    edges = torch.cat([wide, filled]).sort().values
    edges = torch.cat([edges[:1], edges[1:][edges.diff() > 0]])
    sums, squares = (torch.cat([x.new_zeros(1), x.cumsum(0)])[edges] for x in (ordered, ordered.square()))
    members = edges[None] - edges[:, None]
    means = (sums[None] - sums[:, None]) / members.clamp(min=1)
    errors = squares[None] - squares[:, None] - means.square() * members
    errors = torch.where(members < 0, torch.inf, errors)
    least, begins = errors[0], list[Tensor]()
    for _ in range(count - 1):
        least, begin = (least[:, None] + errors).min(0)
        begins.append(begin)
    end, found = len(edges) - 1, list[Tensor]()
    for begin in [*reversed(begins), begins[0].new_zeros(len(edges))]:
        start = int(begin[end])
        is_empty = int(edges[start]) == int(edges[end])
        found.append(ordered[min(int(edges[start]), len(ordered) - 1)] if is_empty else means[start, end])
        end = start
    return torch.stack(found[::-1])


def lloyd(ordered: Tensor, start: Tensor) -> Tensor:
    """Centres that Lloyd's algorithm moves from `start` (k,), ascending, on sorted numbers; an empty one stays."""
    sums, centres = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)]), start
    for _ in range(ROUNDS):
        inner = torch.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        ends = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
        members = ends.diff()
        moved = torch.where(members > 0, sums[ends].diff() / members.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def nearest_entries(weight: Tensor, entries: Tensor) -> Tensor:
    """The place of the nearest entry of each weight; entries in any order."""
    ordered, order = entries.detach().sort()
    return order[torch.bucketize(weight.detach(), (ordered[1:] + ordered[:-1]) / 2)]


def between(weight: Tensor, entries: Tensor, step: Tensor) -> Tensor:
    """Where weights lie among the entries in ascending order: 1.25 is a quarter of the way from entry 1 to entry 2.

    Entries that are nearer than a step, the unit of what is stored, are taken to be a step apart: gradients, which are
    over the distance, stay finite. They reach the weights, none of those beyond the first and the last entry.
    """
    ordered = entries.detach().sort().values
    below = (torch.bucketize(weight.detach(), ordered) - 1).clamp(0, len(ordered) - 2)
    gap = (ordered[below + 1] - ordered[below]).maximum(step)
    return below + ((weight - ordered[below]) / gap).clamp(0, 1)


class Shared(torch.autograd.Function):
    """Each weight's nearest entry. The gradient of a weight is its own, that of an entry the sum over its weights,
    divided by the mean number of weights of an entry.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, entries: Tensor) -> Tensor:
        places = nearest_entries(weight, entries)
        ctx.save_for_backward(places)
        ctx.count = len(entries)
        return entries[places]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (places,) = ctx.saved_tensors
        sums = torch.stack([(gradients[0] * (places == place)).sum() for place in range(ctx.count)])
        return gradients[0], sums * (ctx.count / places.numel())


def entry_step(entries: Tensor) -> Tensor:
    """The step of which entries are multiples of at most LARGEST: (). Where all are 0, that of a largest one of 1."""
    largest = entries.detach().abs().amax()
    return torch.where(largest > DEAD, largest, torch.ones_like(largest)) / LARGEST


def entry_codes(entries: Tensor, step: Tensor) -> Tensor:
    """Entries as whole multiples of a step, as floats (k,)."""
    return (entries.detach() / step).round().clamp(-LARGEST, LARGEST)


def on_entries(weight: Tensor, entries: Tensor, step: Tensor) -> Tensor:
    """Each weight's nearest entry, as it is stored: a multiple of `step`."""
    trained = torch.where(entries == 0, entries.detach(), entries)
    stored = trained + (entry_codes(entries, step) * step - trained).detach()
    values: Tensor = Shared.apply(weight, stored)
    return values


def index_codes(places: Tensor, count: int) -> Tensor:
    """Places 0 .. count - 1 as signed codes of which negative ones count from the end; the file's types are signed."""
    half = count // 2
    return (places + half) % count - half
