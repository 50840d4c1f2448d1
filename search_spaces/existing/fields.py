"""Fields of a node, as what they are. No torch."""

from __future__ import annotations

from search_spaces.existing.blueprint import Node


def number(node: Node, key: str) -> int:
    """A whole number. Raises ValueError, with node and key, for anything else."""
    value = node.fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{node.name}.{key}: expected a whole number, got {value!r}")
    return value


def numbers(node: Node, key: str) -> tuple[int, ...]:
    """Whole numbers. Raises ValueError, with node and key, for anything else."""
    value = node.fields.get(key)
    found = tuple(value) if isinstance(value, list | tuple) else (None,)
    whole = tuple(one for one in found if isinstance(one, int) and not isinstance(one, bool))
    if len(whole) != len(found):
        raise ValueError(f"{node.name}.{key}: expected whole numbers, got {value!r}")
    return whole


def pair(node: Node, key: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width; the default where the node has no such field. Raises ValueError as above."""
    if default is not None and key not in node.fields:
        return default
    found = numbers(node, key)
    if len(found) != 2:
        raise ValueError(f"{node.name}.{key}: expected height and width, got {list(found)}")
    return found[0], found[1]
