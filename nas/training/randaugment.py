"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) on whole batches of uint8 images, with draws of its own for each.

All moves of an image (shear, translation, rotation) are one affine map, sampled at the nearest pixel; the operations on
pixel values follow in the order drawn. Strengths at magnitude 30 are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SHEAR, ROTATION_DEGREES, TRANSLATION, FACTOR = 0.3, 30.0, 0.45, 0.9
STRONGEST = 30.0
# Half way between two pixels the second is nearest, whatever the rounding error: a row moved by 1.5 stays a row.
TIE = 1e-3
MOVES = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate")
GREY_WEIGHTS = (0.299, 0.587, 0.114)


def rand_augment(batch: Tensor, operations: int, magnitude: float, random: torch.Generator) -> Tensor:
    """uint8 (N, C, H, W) to the same shape: `operations` random ones per image, each of strength `magnitude` of 30."""
    n, strength = len(batch), magnitude / STRONGEST
    drawn = torch.randint(len(MOVES) + len(VALUES), (operations, n), generator=random)
    signs = torch.randint(2, (operations, n), generator=random) * 2 - 1
    matrix = torch.eye(3).expand(n, 3, 3)
    for which, sign in zip(drawn, signs, strict=True):
        matrix = matrix @ move_matrices(which, sign * strength)
    batch = move(batch, matrix.to(batch.device))
    for which, sign in zip(drawn, signs, strict=True):
        for number, change in enumerate(VALUES, start=len(MOVES)):
            chosen = (which == number).nonzero().flatten()
            if len(chosen):
                amount = (sign[chosen] * strength).to(batch.device)[:, None, None, None]
                where = chosen.to(batch.device)
                batch = batch.index_copy(0, where, change(batch.index_select(0, where), amount))
    return batch


def move_matrices(which: Tensor, amounts: Tensor) -> Tensor:
    """Maps (N, 3, 3) of output to input places, in units of the image's side from its centre; `which` from MOVES.

    Amounts (N,) lie in [-1, 1]; numbers beyond MOVES are no move.
    """
    matrix = torch.eye(3).repeat(len(which), 1, 1)
    for name, row, column, full in (
        ("shear_x", 0, 1, SHEAR),
        ("shear_y", 1, 0, SHEAR),
        ("translate_x", 0, 2, TRANSLATION),
        ("translate_y", 1, 2, TRANSLATION),
    ):
        matrix[:, row, column] = torch.where(which == MOVES.index(name), amounts * full, 0.0)
    angle = torch.where(which == MOVES.index("rotate"), amounts * math.radians(ROTATION_DEGREES), 0.0)
    turn = torch.eye(3).repeat(len(which), 1, 1)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos(), -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin(), angle.cos()
    return matrix @ turn


def move(batch: Tensor, matrix: Tensor) -> Tensor:
    """Sample every image at the nearest pixel to where its map (N, 3, 3) leads; black beyond the border."""
    n, channels, height, width = batch.shape
    ys = (torch.arange(height, device=batch.device) - (height - 1) / 2) / height
    xs = (torch.arange(width, device=batch.device) - (width - 1) / 2) / width
    places = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)]).flatten(1)
    x, y = (matrix[:, :2, :2] @ places + matrix[:, :2, 2:]).unbind(1)
    column = (x * width + width / 2 + TIE).floor().long()
    row = (y * height + height / 2 + TIE).floor().long()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    found = batch.flatten(2).gather(2, pixel[:, None].expand(n, channels, -1))
    return found.masked_fill(outside[:, None], 0).view(batch.shape)


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    """Towards black or away from it by FACTOR * amount."""
    return _blend(torch.zeros_like(images, dtype=torch.float32), images, amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    """Towards the image's mean grey or away from it."""
    return _blend(_grey(images).mean((1, 2, 3), keepdim=True), images, amount)


def saturation(images: Tensor, amount: Tensor) -> Tensor:
    """Towards the grey image or away from it; nothing where there is one channel."""
    return _blend(_grey(images), images, amount)


def posterize(images: Tensor, amount: Tensor) -> Tensor:
    """Keep 8 down to 4 leading bits."""
    dropped = (amount.abs() * 4).round().to(torch.uint8)
    return (images >> dropped) << dropped


def solarize(images: Tensor, amount: Tensor) -> Tensor:
    """Invert pixels from a threshold on, which falls from 256 to 0."""
    return torch.where(images >= 256 * (1 - amount.abs()), 255 - images, images)


def autocontrast(images: Tensor, amount: Tensor) -> Tensor:
    """Stretch every channel to 0..255; `amount` has no effect."""
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    stretched = (images - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, stretched.round().to(torch.uint8), images)


VALUES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    brightness, contrast, saturation, posterize, solarize, autocontrast,
)  # fmt: skip


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images.float()
    weights = torch.tensor(GREY_WEIGHTS, device=images.device)[:, None, None]
    return (images * weights).sum(1, keepdim=True)


def _blend(towards: Tensor, images: Tensor, amount: Tensor) -> Tensor:
    mixed = towards + (images - towards) * (1 + FACTOR * amount)
    return mixed.round_().clamp_(0, 255).to(torch.uint8)
