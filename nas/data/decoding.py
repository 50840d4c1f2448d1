"""One image to uint8 (C, size, size), from any mode, orientation and shape."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from nas.data.pixels import upright
from nas.data.records import Array

Resize = Literal["stretch", "crop", "letterbox"]
# What Pillow raises at files that are damaged, too large or in a variant it does not know.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tif", ".tiff")
_SIXTEEN_BIT = 65535
# Pillow warns of damaged metadata; the pixels are read all the same, also where Python makes warnings errors.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Form:
    """What every image of a set is brought to: channels (1 or 3), side in pixels, and how another shape gets there."""

    channels: int
    size: int
    resize: Resize = "stretch"


def decode(image: Image.Image, form: Form) -> Array:
    """An opened image as uint8 (C, size, size).

    The first frame of an animation counts; EXIF orientation is applied; 16-bit samples are divided by 257; what is
    transparent is laid over black. Raises one of UNREADABLE where the pixels cannot be had.
    """
    shown = _resized(_opaque(_eight_bit(upright(image))).convert("L" if form.channels == 1 else "RGB"), form)
    array = np.asarray(shown, np.uint8)
    return array[None] if form.channels == 1 else array.transpose(2, 0, 1)


def reason_of(error: Exception) -> str:
    """Why an image could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (also as PIL's 32-bit mode I) scaled to 8; wider samples have no known white."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    samples = np.asarray(image)
    if image.mode == "F":
        raise ValueError("expected samples of 8 or 16 bits, got floating point")
    if samples.min() < 0 or samples.max() > _SIXTEEN_BIT:
        raise ValueError(f"expected samples of 8 or 16 bits, got {samples.min()} to {samples.max()}")
    return Image.fromarray(np.round(samples / 257).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)


def _resized(image: Image.Image, form: Form) -> Image.Image:
    if image.size == (form.size, form.size):
        return image
    if form.resize == "letterbox":
        return _letterbox(image, form.size)
    box = _centre_square(*image.size) if form.resize == "crop" else None
    return image.resize((form.size, form.size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _centre_square(width: int, height: int) -> tuple[float, float, float, float]:
    """Cutting the square first gives the same as scaling the short side first, without pixels that are thrown away."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _letterbox(image: Image.Image, size: int) -> Image.Image:
    """The whole image, its long side at `size`, in the middle of black."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    canvas = Image.new(image.mode, (size, size))
    inner = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    canvas.paste(inner, ((size - width) // 2, (size - height) // 2))
    return canvas
