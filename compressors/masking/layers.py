"""Masks of layers: a boolean buffer beside the weight, False where the weight is zero and stays so.

The buffer goes with its layer through copies, folding, quantization and state dicts, into the file.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compressors.requests.masked import Mask
from compressors.support import FLOATS, check_floats, check_no_hooks, check_own_type

MASK = "mask"
Layer = nn.Conv2d | nn.Linear
_KINDS = (nn.Conv2d, nn.Linear)


def mask_of(module: nn.Module) -> Tensor | None:
    """A layer's mask, of its weight's shape; None where it has none."""
    mask = getattr(module, MASK, None)
    return mask if isinstance(mask, Tensor) else None


def layers_of(network: nn.Module, record: Mask) -> dict[str, Layer]:
    """The layers of which zeros are asked, by name.

    Raises ValueError for names that stand for no layer, Unsupported for layers that cannot be masked.
    """
    found = {name: layer for name, layer in _layers(network) if record.amount_of(name) is not None}
    names = [] if record.is_global else record.amounts
    if unknown := [name for name in names if not any(f"{layer}.".startswith(f"{name}.") for layer in found)]:
        raise ValueError(f"mask names layers the network does not have: {', '.join(unknown)}")
    for name, layer in found.items():
        check_own_type(name, layer, _KINDS, "mask weights of")
        check_no_hooks(name, layer)
        check_floats(name, layer, FLOATS)
    return found


def _layers(network: nn.Module) -> Iterator[tuple[str, Layer]]:
    for name, module in network.named_modules():
        if isinstance(module, _KINDS):
            yield name, module


@torch.no_grad()
def set_mask(layer: Layer, mask: Tensor) -> None:
    """Give a layer a mask, or another one, and zero what it takes away."""
    known = mask_of(layer)
    if known is None:
        layer.register_buffer(MASK, mask)
    else:
        known.copy_(mask)
    layer.weight.mul_(mask)


def masked_layers(network: nn.Module) -> list[tuple[Layer, Tensor]]:
    """Layers that have a mask, and their masks."""
    layers = [layer for _, layer in _layers(network)]
    return [(layer, mask) for layer in layers if (mask := mask_of(layer)) is not None]


def has_masks(network: nn.Module) -> bool:
    """Whether a layer of any kind has a mask."""
    return any(mask_of(module) is not None for module in network.modules())


def hold(network: nn.Module) -> None:
    """Zero again what masks take away."""
    for layer, mask in masked_layers(network):
        layer.weight.data.mul_(mask)


class Held:
    """The masked weights of a network in training: zero again after every step of the optimizer.

    Masks may change in between.
    """

    def __init__(self, network: nn.Module) -> None:
        pairs = masked_layers(network)
        self._weights, self._masks = [layer.weight for layer, _ in pairs], [mask for _, mask in pairs]

    @torch.no_grad()
    def __call__(self) -> None:
        if self._weights:
            torch._foreach_mul_(self._weights, self._masks)
