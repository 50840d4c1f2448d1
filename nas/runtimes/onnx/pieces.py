"""What a file has of one part of a network, and the letters of the numbered names of all parts together. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.runtimes.onnx.outline import Map, Node


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What a file has of one part; as in Outline. `source` is its input, of elements of `source_bytes`.

    out, is_held, is_signed, is_fixed: the shape of its result, and whether that is held in codes, may be negative and
    has a scale that is a power of two.
    """

    size_bytes: int
    node_uses: tuple[int, ...]
    constant_uses: tuple[int, ...]
    input_uses: int
    grid_uses: int
    zero_points: int
    power_scales: int
    scalars: tuple[tuple[str, int, int], ...]
    restored_bits: frozenset[int]
    unmasks: bool
    nodes: tuple[Node, ...]
    source: Map
    source_bytes: int
    out: Map
    is_held: bool
    is_signed: bool
    is_fixed: bool


def letters(pieces: Sequence[Piece]) -> int:
    """Letters of all numbered names: a letter for the kind and the digits of the number."""
    total, node, constant, shared = 0, 0, 0, dict[str, int]()
    for piece in pieces:
        before = _name(node - 1) if node else len("image")
        total += piece.input_uses * before + piece.grid_uses * _name(max(0, constant - 1))
        new = 0
        for name, uses, first in piece.scalars:
            if name not in shared:
                shared[name] = constant + first + new
                new += 1
                total += _name(shared[name])
            total += uses * _name(shared[name])
        total += _names(piece.node_uses, node) + _names(piece.constant_uses, constant + new)
        node, constant = node + len(piece.node_uses), constant + len(piece.constant_uses) + new
    return total - _name(node - 1) + len("logits")


def _name(number: int) -> int:
    return 1 + len(str(number))


def _names(uses: Sequence[int], first: int) -> int:
    if not uses:
        return 0
    if _name(first) == _name(first + len(uses) - 1):
        return sum(uses) * _name(first)
    return sum(count * _name(number) for number, count in enumerate(uses, first))
