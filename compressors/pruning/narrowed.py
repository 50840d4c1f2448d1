"""Where the channels of groups lie in a network that was pruned: as far as that follows from how many are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from compressors.low_rank.paths import Located
from compressors.pruning.places import Group, Place, Span, places_of


def narrowed(groups: Iterable[Group], kept: Mapping[str, int]) -> Iterator[Located]:
    """The groups in a network in which each has as many channels as `kept` says; those without a count have all.

    Channels of one group that lie side by side do so afterwards; where other channels lie among them, as behind a
    shuffle, it does not follow from the counts which are which, and the group is left out.
    """
    lying = {group.name: [_Lying.of(place, kept) for place in places_of(group)] for group in groups}
    there: dict[tuple[str, int], list[_Lying]] = {}
    for own in (own for every in lying.values() for own in every):
        there.setdefault((own.place.path, own.place.axis), []).append(own)
    for places in lying.values():
        others = [there[own.place.path, own.place.axis] for own in places]
        if places and all(own.is_told(along) for own, along in zip(places, others, strict=True)):
            group, left = places[0].place.group, places[0].left
            spans = tuple(own.span(along) for own, along in zip(places, others, strict=True))
            yield Located(group.name, left, group.members, spans if any(spans) else (), group.unit)


@dataclass(frozen=True)
class _Lying:
    """A place before pruning: the channels that are left of it, and its first and last number."""

    place: Place
    left: int
    first: int
    last: int

    @classmethod
    def of(cls, place: Place, kept: Mapping[str, int]) -> _Lying:
        numbers = place.numbers()
        return cls(place, kept.get(place.group.name, place.group.width), int(numbers.min()), int(numbers.max()))

    @property
    def gone(self) -> int:
        """How many of its numbers go."""
        return (self.place.group.width - self.left) * self.place.repeats

    def is_told(self, along: Sequence[_Lying]) -> bool:
        """Whether counts say where its channels are: they lie side by side, in order if some go, and what goes of
        others goes before or behind them.
        """
        numbers = self.place.numbers().flatten()
        is_block = self.last - self.first + 1 == len(numbers)
        in_order = not self.gone or not bool((numbers.diff() < 0).any())
        cut = [other for other in along if other.gone and other is not self]
        return is_block and in_order and all(other.last < self.first or other.first > self.last for other in cut)

    def span(self, along: Sequence[_Lying]) -> Span | None:
        """The numbers of the channels that are left."""
        if self.place.span is None:
            return None
        numbers, repeats = self.place.numbers(), self.place.repeats
        if self.gone:
            numbers = self.first + torch.arange(self.left * repeats).reshape(self.left, repeats)
        before = sum(other.gone for other in along if other.last < self.first)
        return tuple(tuple(own) for own in (numbers - before).tolist())
