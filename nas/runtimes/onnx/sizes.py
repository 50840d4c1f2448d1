"""Bytes of the parts of an ONNX file (protocol buffers): nodes and stored values, without building them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from onnx import helper

Attribute = int | float | tuple[int, ...]
TYPICAL_NAME = 3  # letters of a numbered value's name, where only the length of a length depends on it


def varint_bytes(number: int) -> int:
    return 1 if number < 1 << 7 else (number.bit_length() + 6) // 7


def framed(length: int) -> int:
    """A field of so many bytes, with its tag and its length."""
    return 1 + varint_bytes(length) + length


@lru_cache(maxsize=1 << 14)
def tensor_bytes(dims: tuple[int, ...], data_bytes: int, *, name_letters: int | None = None) -> int:
    """A stored value in a graph; without a given name, all but the letters of its numbered name."""
    name = TYPICAL_NAME if name_letters is None else name_letters
    kind, named, lengths = 2, 2 + name, sum(1 + varint_bytes(dim) for dim in dims)
    return framed(kind + named + lengths + framed(data_bytes)) - (name if name_letters is None else 0)


@cache
def node_bytes(
    op: str,
    inputs: int,
    *,
    text: int = 0,
    name: str = "",
    domain: str = "",
    attributes: tuple[tuple[str, Attribute], ...] = (),
) -> int:
    """A node of one output in a graph, all but the letters of numbered names.

    `inputs` counts all inputs, `text` the letters of those that have names of their own.
    """
    own = _own_bytes(op, name, domain, attributes) + 2 * (inputs + 1) + text
    letters = TYPICAL_NAME * (inputs + 1)
    return framed(own + letters) - letters


@cache
def _own_bytes(op: str, name: str, domain: str, attributes: tuple[tuple[str, Attribute], ...]) -> int:
    given: dict[str, Any] = {"domain": domain} if domain else {}
    return int(helper.make_node(op, [], [], name=name, **given, **dict[str, Any](attributes)).ByteSize())
