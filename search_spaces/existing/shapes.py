"""The shape that each node of a blueprint gives, for images of one size. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from search_spaces.existing.blueprint import INPUT, Blueprint, Node
from search_spaces.existing.fields import number, numbers, pair
from search_spaces.remembered import remembered

Shape = tuple[int, ...]
"""(channels, height, width) of a map, or (features,)."""


class Unfit(ValueError):
    """Images that a network cannot take, or layers that do not fit each other: the node, what it needs, what came."""


@remembered
def shapes_of(blueprint: Blueprint, input_size: int, num_classes: int = 1) -> Mapping[str, Shape]:
    """Shape by node, that of INPUT included, for square images of `input_size` pixels.

    Raises Unfit, with the node, where an operation cannot be done, and where what results is not one number per class.
    """
    head = blueprint.by_name[blueprint.head].path
    shapes: dict[str, Shape] = {INPUT: (blueprint.input_channels, input_size, input_size)}
    for node in blueprint.nodes:
        width = num_classes if node.path == head else None
        read = [shapes[name] for name in node.reads]
        try:
            shapes[node.name] = RULES.get(node.op, _same)(node, read, width)
        except _Misfit as misfit:
            raise Unfit(f"{node.name} ({node.op}): {misfit}, from images of {_text(shapes[INPUT])}") from None
    if (last := shapes[blueprint.nodes[-1].name]) != (num_classes,):
        name = blueprint.nodes[-1].name
        raise Unfit(f"{name}: expected one number per class in the end, ({num_classes},), got {_text(last)}")
    return shapes


class _Misfit(ValueError):
    """What is wrong with a node's operands; the caller adds which node it is."""


Rule = Callable[[Node, Sequence[Shape], int | None], Shape]
"""A node, the shapes it reads, its width where that is the number of classes -> the shape that it gives."""


def _same(_: Node, read: Sequence[Shape], __: int | None) -> Shape:
    return read[0]


def _conv(node: Node, read: Sequence[Shape], width: int | None) -> Shape:
    channels, height, wide = _map(read[0])
    _expect(number(node, "in_channels"), channels, "channels")
    return (width or number(node, "out_channels"), *_windows(node, (height, wide)))


def _linear(node: Node, read: Sequence[Shape], width: int | None) -> Shape:
    _expect(number(node, "in_features"), _features(read[0]), "features")
    return (width or number(node, "out_features"),)


def _norm(node: Node, read: Sequence[Shape], _: int | None) -> Shape:
    _expect(number(node, "num_features"), _map(read[0])[0], "channels")
    return read[0]


def _norm1d(node: Node, read: Sequence[Shape], _: int | None) -> Shape:
    _expect(number(node, "num_features"), _features(read[0]), "features")
    return read[0]


def _pool(node: Node, read: Sequence[Shape], _: int | None) -> Shape:
    channels, *sides = _map(read[0])
    return (channels, *_windows(node, sides, rounds_up=bool(node.fields.get("ceil_mode", False))))


def _adaptive(node: Node, read: Sequence[Shape], _: int | None) -> Shape:
    return (_map(read[0])[0], *pair(node, "output_size"))


def _elementwise(_: Node, read: Sequence[Shape], __: int | None) -> Shape:
    """Both of one shape; one of them may have a single pixel, which meets all of the other's."""
    first, second = read
    if len(first) != len(second) or first[0] != second[0]:
        raise _Misfit(f"expected two of the same channels, got {_text(first)} and {_text(second)}")
    if first[1:] != second[1:] and (1, 1) not in (first[1:], second[1:]):
        raise _Misfit(f"expected maps of one size, or of a single pixel, got {_text(first)} and {_text(second)}")
    return max(first, second)


def _concatenate(_: Node, read: Sequence[Shape], __: int | None) -> Shape:
    if len({shape[1:] for shape in read}) > 1:
        raise _Misfit(f"expected maps of one size, got {' and '.join(map(_text, read))}")
    return (sum(shape[0] for shape in read), *read[0][1:])


def _select(node: Node, read: Sequence[Shape], _: int | None) -> Shape:
    channels = numbers(node, "channels")
    if not channels or not 0 <= min(channels) <= max(channels) < read[0][0]:
        raise _Misfit(f"expected channels 0..{read[0][0] - 1}, got {list(channels)}")
    return (len(channels), *read[0][1:])


def _flatten(_: Node, read: Sequence[Shape], __: int | None) -> Shape:
    features = 1
    for side in read[0]:
        features *= side
    return (features,)


RULES: Mapping[str, Rule] = {
    "conv": _conv,
    "linear": _linear,
    "norm": _norm,
    "norm1d": _norm1d,
    "max_pool": _pool,
    "average_pool": _pool,
    "adaptive_average": _adaptive,
    "add": _elementwise,
    "multiply": _elementwise,
    "concatenate": _concatenate,
    "select": _select,
    "flatten": _flatten,
}
"""Operations that change a shape, or ask something of it; all others give what they read."""


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise _Misfit(f"expected a map of channels, height and width, got {_text(shape)}")
    return shape


def _features(shape: Shape) -> int:
    if len(shape) != 1:
        raise _Misfit(f"expected features, one row per image, got a map of {_text(shape)}: flatten it first")
    return shape[0]


def _expect(expected: int, got: int, unit: str) -> None:
    if expected != got:
        raise _Misfit(f"expected {expected} {unit}, got {got}")


def _windows(node: Node, sides: Sequence[int], *, rounds_up: bool = False) -> tuple[int, int]:
    """Height and width of what a window gives that moves over a map, as torch counts them."""
    kernel, stride, padding = pair(node, "kernel_size"), pair(node, "stride"), pair(node, "padding")
    dilation = pair(node, "dilation", (1, 1))
    found = []
    for side, size, step, pad, gap in zip(sides, kernel, stride, padding, dilation, strict=True):
        if (count := window_count(side, size, step, pad, gap, rounds_up=rounds_up)) < 1:
            least = gap * (size - 1) + 1 - 2 * pad
            raise _Misfit(f"expected a map of at least {least} pixels a side, got {sides[0]}x{sides[1]}")
        found.append(count)
    return found[0], found[1]


def window_count(side: int, kernel: int, stride: int, padding: int, dilation: int, *, rounds_up: bool) -> int:
    """In how many places a window stands along a side, as torch counts them; less than one where it does not fit."""
    steps = side + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-steps // stride) if rounds_up else steps // stride) + 1
    if rounds_up and (count - 1) * stride >= side + padding:  # a window may not begin behind the map
        count -= 1
    return count


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
