"""What a network's code holds for a moment and no blueprint has: the next operation makes it one that there is."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.existing.reading.forms import NotOffered
from search_spaces.existing.reading.values import Value

_NEXT_TO_NOTHING = 1e-6


@dataclass(frozen=True)
class Ended:
    """Probabilities or their logarithms, which nothing may read: the network ends with the logits."""

    logits: Value


@dataclass(frozen=True)
class Halfway:
    """A map's mean along one of its two axes of pixels, of which the mean along the other one is taken."""

    map: Value
    axis: int
    keepdim: bool

    @property
    def shape(self) -> tuple[int, ...]:
        kept = (1,) if self.keepdim else ()
        return (*self.map.shape[: self.axis], *kept, *self.map.shape[self.axis + 1 :])

    def completed(self, axes: set[int], keepdim: bool) -> tuple[Value, set[int], bool]:
        """The map, and over what its mean is taken in all."""
        other = 5 - self.axis if self.keepdim else 2
        if axes != {other} or keepdim != self.keepdim:
            raise NotOffered("a mean along one axis of a map, supported: over all pixels, [2, 3]")
        return self.map, {2, 3}, keepdim


@dataclass(frozen=True)
class Scaled:
    """value * scale + shift, as in hard sigmoids written by hand: relu6(x + 3) / 6."""

    value: Value
    scale: float = 1.0
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def times(self, factor: float) -> Value | Scaled:
        return Scaled(self.value, self.scale * factor, self.shift * factor).simple()

    def plus(self, term: float) -> Value | Scaled:
        return Scaled(self.value, self.scale, self.shift + term).simple()

    def simple(self) -> Value | Scaled:
        """The value itself where nothing is left to do to it."""
        return self.value if abs(self.scale - 1) < _NEXT_TO_NOTHING and abs(self.shift) < _NEXT_TO_NOTHING else self

    def is_(self, scale: float, shift: float) -> bool:
        return abs(self.scale - scale) < _NEXT_TO_NOTHING and abs(self.shift - shift) < _NEXT_TO_NOTHING
