"""Two convolutions with nothing but batch norm between them as one (Ding et al. 2021, arXiv:2103.13425).

Merging is exact where at least one of the two has kernel 1 and no pixel of padding is seen in between: a pointwise
convolution behind any other, or one before another that does not pad its input, or whose input is not shifted, so that
the zeros that are padded stand for zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import skip_init

from compressors.folding import traced
from compressors.support import check_no_hooks, check_own_type, memory_format_of, refuse

Affine = tuple[Tensor, Tensor]


class Pair(NamedTuple):
    """Two convolutions, by their paths in a block, and the batch norms behind each, where there is one."""

    first: str
    first_norm: str | None
    second: str
    second_norm: str | None


def merge_pairs(name: str, block: nn.Module) -> None:
    """Merge neighbouring convolutions of a block, in place, wherever that is exact and leaves fewer parameters.

    The merged layer has the second one's name and batch norm; the first and its norm become identities. In eval mode
    the block computes what it did, up to rounding. Which pairs are merged depends on shapes alone.
    """
    while (pair := next(_pairs(name, block), None)) is not None:
        for path in filter(None, pair):
            check_no_hooks(f"{name}.{path}", block.get_submodule(path))
        _merge(block, pair)


def is_exact(first: nn.Conv2d, second: nn.Conv2d, *, shifts: bool) -> bool:
    """Whether both are one convolution; `shifts` says that a constant is added between them, by a bias or a norm."""
    if any(conv.groups != 1 or _padding(conv) is None or conv.dilation != (1, 1) for conv in (first, second)):
        return False
    return _is_pointwise(second) or (_is_pointwise(first) and not (shifts and any(_padding(second) or ())))


def _is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether every pixel of its result is made from the pixel at the same place."""
    return conv.kernel_size == conv.stride == (1, 1) and _padding(conv) == (0, 0)


def saves(first: nn.Conv2d, second: nn.Conv2d) -> bool:
    """Whether the merged convolution has fewer weights and biases than the two, batch norm folded."""
    area = first.kernel_size[0] * first.kernel_size[1] * second.kernel_size[0] * second.kernel_size[1]
    merged = second.out_channels * (first.in_channels * area + 1)
    return merged < sum(conv.weight.numel() + conv.out_channels for conv in (first, second))


def merged(first: Tensor, second: Tensor) -> Tensor:
    """The weight of both: (m, i, k, k) and (o, m, l, l), one of k and l being 1 -> (o, i, k * l, k * l)."""
    if second.shape[2:] == (1, 1):
        return torch.einsum("om,mikl->oikl", second[:, :, 0, 0], first)
    if first.shape[2:] != (1, 1):
        raise ValueError(f"expected a kernel of 1 in one of two weights, got {first.shape[2:]} and {second.shape[2:]}")
    return torch.einsum("omkl,mi->oikl", second, first[:, :, 0, 0])


def affine_of(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> Affine:
    """Scale (out,) and shift (out,) behind a convolution without its bias: bias and running batch norm as one map."""
    ones = torch.ones_like(conv.weight[:, 0, 0, 0])
    bias = torch.zeros_like(ones) if conv.bias is None else conv.bias.detach()
    if norm is None:
        return ones, bias
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.detach()
    shift = (bias - norm.running_mean) * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach()


def _padding(conv: nn.Conv2d) -> tuple[int, ...] | None:
    """Pixels of zeros, None where it pads otherwise."""
    return conv.padding if isinstance(conv.padding, tuple) and conv.padding_mode == "zeros" else None


@torch.no_grad()
def _merge(block: nn.Module, pair: Pair) -> None:
    first, second = _conv(block, pair.first), _conv(block, pair.second)
    scale, shift = affine_of(first, _norm(block, pair.first_norm))
    weight = merged(first.weight * scale[:, None, None, None], second.weight)
    constant = second.weight.sum((2, 3)) @ shift
    own, norm = first if _is_pointwise(second) else second, _norm(block, pair.second_norm)
    has_bias = second.bias is not None or norm is None
    joined = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, first.in_channels, second.out_channels, own.kernel_size, own.stride, own.padding, bias=has_bias,
        device=second.weight.device, dtype=second.weight.dtype,
    ).train(second.training)  # fmt: skip
    assert isinstance(joined, nn.Conv2d)
    joined.weight.copy_(weight)
    joined.weight.data = joined.weight.data.contiguous(memory_format=memory_format_of(second.weight))
    if joined.bias is not None:
        joined.bias.copy_(constant if second.bias is None else constant + second.bias)
    elif norm is not None and norm.running_mean is not None:
        norm.running_mean -= constant
    block.set_submodule(pair.second, joined)
    for path in filter(None, (pair.first, pair.first_norm)):
        block.set_submodule(path, nn.Identity())


def _pairs(name: str, block: nn.Module) -> Iterator[Pair]:
    """Neighbours that can be merged, in order of execution. Raises Unsupported for a block that cannot be traced."""
    graph = traced(name, block)
    for node in graph.find_nodes(op="call_module"):
        first = block.get_submodule(str(node.target))
        user, norms = _next_layer(block, node)
        second = block.get_submodule(str(user.target)) if user is not None else None
        if type(first) is not nn.Conv2d or type(second) is not nn.Conv2d or user is None or len(norms) > 1:
            continue
        if any(len(graph.find_nodes(op="call_module", target=call.target)) > 1 for call in (node, user)):
            continue
        if is_exact(first, second, shifts=first.bias is not None or bool(norms)) and saves(first, second):
            _, behind = _next_layer(block, user)
            yield Pair(str(node.target), next(iter(norms), None), str(user.target), next(iter(behind), None))


def _next_layer(block: nn.Module, node: fx.Node) -> tuple[fx.Node | None, list[str]]:
    """What alone reads a convolution's result through batch norms and identities, and the paths of these norms."""
    norms = list[str]()
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.op != "call_module" or len(node.all_input_nodes) != 1:
            return None, norms
        module = block.get_submodule(str(node.target))
        if type(module) is nn.BatchNorm2d:
            norms.append(str(node.target))
        elif type(module) is not nn.Identity:
            return node, norms
    return None, norms


def _conv(block: nn.Module, path: str) -> nn.Conv2d:
    conv = block.get_submodule(path)
    check_own_type(path, conv, (nn.Conv2d,), "merge")
    assert isinstance(conv, nn.Conv2d)
    return conv


def _norm(block: nn.Module, path: str | None) -> nn.BatchNorm2d | None:
    norm = None if path is None else block.get_submodule(path)
    assert norm is None or isinstance(norm, nn.BatchNorm2d)
    if norm is not None and norm.running_mean is None:
        raise refuse(str(path), norm, "track_running_stats", norm.track_running_stats, "True, with running statistics")
    return norm
