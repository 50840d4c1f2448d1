"""Functions of several tensors: sums, products, concatenation; and numbers that a tensor is added to or scaled by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.existing.reading.forms import Form, NotOffered
from search_spaces.existing.reading.pending import Scaled
from search_spaces.existing.reading.rows import Row, Writer
from search_spaces.existing.reading.values import Value, is_unknown, said


def _add(writer: Writer, x: Any, other: Any, alpha: float = 1) -> Any:
    if alpha != 1:
        raise NotOffered(f"with alpha {alpha}, supported: 1")
    pair = _with_a_number(x, other)
    return pair[0].plus(pair[1]) if pair else _joined(writer, "add", x, other)


def _subtract(writer: Writer, x: Any, other: Any) -> Any:
    if not isinstance(other, int | float):
        raise NotOffered("of two tensors, supported: sums")
    return _add(writer, x, -other)


def _multiply(writer: Writer, x: Any, other: Any) -> Any:
    if pair := _with_a_number(x, other):
        return pair[0].times(pair[1])
    factor = 1.0
    for each in (x, other):
        if isinstance(each, Scaled) and each.shift == 0:
            factor *= each.scale
    first, second = (each.value if isinstance(each, Scaled) and each.shift == 0 else each for each in (x, other))
    return Scaled(_joined(writer, "multiply", first, second)).times(factor)


def _divide(writer: Writer, x: Any, other: Any) -> Any:
    if not isinstance(other, int | float) or not other:
        raise NotOffered("by a tensor or by 0, supported: products")
    return _multiply(writer, x, 1 / other)


def _with_a_number(x: Any, other: Any) -> tuple[Scaled, float] | None:
    """A tensor and a number, whichever comes first; None where both are tensors."""
    tensor, number = (x, other) if isinstance(other, int | float) else (other, x)
    if not isinstance(number, int | float):
        return None
    return tensor if isinstance(tensor, Scaled) else Scaled(tensor), number


def _joined(writer: Writer, op: str, x: Any, other: Any) -> Value:
    """Two tensors of one shape, of which that of a product may have one pixel."""
    if not (isinstance(x, Value) and isinstance(other, Value)):
        raise NotOffered("with a constant, supported: two tensors that the network computes")
    first, second = (other, x) if x.is_map and x.shape[2:] == (1, 1) else (x, other)
    is_scale = op == "multiply" and first.is_map and second.is_map and second.shape[2:] == (1, 1)
    may_join = is_scale or _may_be_equal(first.shape[2:], second.shape[2:])
    if first.shape[:2] != second.shape[:2] or len(first.shape) != len(second.shape) or not may_join:
        more = ", or one pixel per channel" if op == "multiply" else ""
        raise NotOffered(f"of {said(x.shape)} and {said(other.shape)}, supported: tensors of one shape{more}")
    return writer.apply(Form(op), first, second)


def _may_be_equal(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether maps may be of one size, as far as that is known."""
    return all(a == b or (is_unknown(a) != is_unknown(b) and 1 not in (a, b)) for a, b in zip(one, other, strict=True))


def _cat(writer: Writer, tensors: Any, dim: int = 0, axis: int | None = None) -> Value:
    dim, values = dim if axis is None else axis, list(tensors)
    if not values or not all(isinstance(each, Value) for each in values):
        raise NotOffered("with a constant, supported: tensors that the network computes")
    if dim % len(values[0].shape) != 1:
        raise NotOffered(f"along axis {dim}, supported: along the channels, 1")
    return values[0] if len(values) == 1 else writer.apply(Form("concatenate"), *values)


JOINING: dict[str, Row] = {
    "add": _add,
    "sub": _subtract,
    "mul": _multiply,
    "multiply": _multiply,
    "div": _divide,
    "truediv": _divide,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
}
