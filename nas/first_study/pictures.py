"""How the pictures look: their sizes and shapes, grey or in colour; and the input that suits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nas.data.decoding import UNREADABLE
from nas.data.pixels import upright
from nas.data.records import Listing
from nas.first_study.choices import Choice
from nas.machine import cores
from search_spaces.presets import PRESETS

SAMPLE = 128  # pictures that are looked at, evenly over all
SIZES = tuple(sorted(int(name.removesuffix("px")) for name in PRESETS))
ENOUGH = 0.8  # of a picture's side: a network that sees so much of it loses little
COLOURFUL = 3.0  # mean difference of channels, of 255: above what JPEG makes of grey
SAME_SHAPE = 1.25  # quotient of aspect ratios, of the pictures in the middle 80 %
SQUARE = 1.1  # height and width that stretching hardly changes
_LOOKED_AT = 64  # pixels of the side of a copy that colours are compared in


@dataclass(frozen=True)
class Looks:
    """Height and width of some pictures in pixels, and how much their channels differ (mean over pixels, of 255)."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]
    colour: tuple[float, ...]

    @property
    def side(self) -> float:
        """Of a square of the median picture's area."""
        return float(np.median(np.sqrt(np.multiply(self.heights, self.widths))))

    @property
    def is_grey(self) -> bool:
        """Whether at most one picture in a hundred has colours."""
        return float(np.mean(np.asarray(self.colour) > COLOURFUL)) <= 0.01


def look(listing: Listing, most: int = SAMPLE) -> Looks:
    """Open some pictures of a listing, evenly over all; what cannot be read is passed over."""
    count = len(listing.labels)
    sample = [index for index in range(0, count, max(1, -(-count // most))) if index not in listing.faults]
    with ThreadPoolExecutor(cores()) as pool:
        seen = [looks for looks in pool.map(lambda index: _look_at(listing.open, index), sample) if looks]
    heights, widths, colour = zip(*seen, strict=True) if seen else ((1,), (1,), (0.0,))
    return Looks(heights, widths, colour)


def _look_at(opened: Callable[[int], Image.Image], index: int) -> tuple[int, int, float] | None:
    try:
        with opened(index) as image:
            shown = upright(image)
            return shown.height, shown.width, _colour(shown)
    except UNREADABLE:
        return None


def _colour(image: Image.Image) -> float:
    """Mean over pixels of the largest less the smallest channel, 0 for what is stored as grey."""
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return 0.0
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((_LOOKED_AT, _LOOKED_AT))
    pixels = np.asarray(small, np.int16)[..., :3]
    return float(np.ptp(pixels, axis=-1).mean())


def preset_size(looks: Looks, most: int = SIZES[-1]) -> int:
    """The smallest of SIZES that holds most of what a typical picture shows, `most` at most."""
    suited = next((size for size in SIZES if size >= ENOUGH * looks.side), SIZES[-1])
    return max((size for size in SIZES if size <= min(suited, most)), default=SIZES[0])


def choose_form(looks: Looks) -> list[Choice]:
    """Channels, and the way to a square."""
    return [_channels(looks), _resize(looks)]


def _channels(looks: Looks) -> Choice:
    if looks.is_grey:
        why = "The pictures are grey: one channel tells as much as three, in a smaller first layer."
        return Choice("data.channels", 1, why)
    share = float(np.mean(np.asarray(looks.colour) > COLOURFUL))
    return Choice("data.channels", 3, "The pictures are in colour." if share > 0.9 else _some_in_colour(share))


def _some_in_colour(share: float) -> str:
    return f"About {share:.0%} of the pictures have colours, the others are grey."


def _resize(looks: Looks) -> Choice:
    ratios = np.divide(looks.widths, looks.heights)
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9)).tolist()
    if high / low > SAME_SHAPE:
        why = (
            f"Width over height goes from {low:.2g} to {high:.2g}, so stretching all of them into squares would bend "
            "shapes differently. letterbox pads with black; crop would take the middle alone."
        )
        return Choice("data.resize", "letterbox", why)
    shape = "square" if max(middle, 1 / middle) <= SQUARE else f"of one shape (width over height about {middle:.2g})"
    return Choice("data.resize", "stretch", f"The pictures are {shape}, so stretching bends all of them alike.")


def in_words(looks: Looks) -> str:
    """Sizes and colours in one sentence."""
    sizes = sorted(zip(looks.widths, looks.heights, strict=True), key=lambda size: size[0] * size[1])
    low, high = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
    span = f"{low} pixels each" if low == high else f"{low} to {high} pixels, typically {looks.side:.0f}"
    return f"{span}, {'grey' if looks.is_grey else 'in colour'} (by {len(sizes):,} of them)"


def size_choice(size: int, looks: Looks, reason: str, *, is_timed: bool) -> Choice:
    """The preset for an input size; `reason` says why it is not larger, if it could be."""
    why = (
        f"Stages, widths and kinds of blocks that suit images of {size} x {size} pixels. A typical picture has a side "
        f"of {looks.side:.0f} pixels{reason}."
    )
    return Choice("space.preset", f"{size}px", why, is_timed=is_timed)


def smaller_sizes(size: int, least: int = 32) -> Sequence[int]:
    """The sizes below `size` to fall back on, the largest first; pictures are not brought below `least` pixels."""
    return [other for other in reversed(SIZES) if least <= other < size]
