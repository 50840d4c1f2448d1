"""Which numbers weights and activations may be, as plain data: a row for each format of weights. No torch.

How a file stores a format is decided in `nas/runtimes/onnx/weights.py`, how weights are rounded to its codes in
`compressors/quantization/numerics.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

WeightFormat = Literal["fp32", "int8", "int6", "int5", "int4", "int3", "int2"]


@dataclass(frozen=True)
class Format:
    """A format of weights: bits per weight in the file, and the integer codes a weight may have (none: floats).

    `rounding` names the row of `ROUNDINGS` that brings weights to codes.
    """

    name: str
    bits: int
    codes: range = range(0)
    rounding: str = "uniform"

    @property
    def is_float(self) -> bool:
        return not self.codes


@dataclass(frozen=True)
class ActivationScheme:
    """The grid of activations: `bits` wide, signed or not; a symmetric one has zero point 0."""

    bits: int = 8
    signed: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"activation bits: expected 2..8, got {self.bits}")
        if self.symmetric and not self.signed:
            raise ValueError("activations: expected a signed scheme where it is symmetric, got an unsigned one")

    @property
    def low(self) -> int:
        if not self.signed:
            return 0
        return -(1 << (self.bits - 1)) + self.symmetric

    @property
    def high(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    @property
    def levels(self) -> int:
        """Steps from the smallest to the largest code."""
        return self.high - self.low


UNSIGNED_8 = ActivationScheme()


def integer_codes(bits: int) -> range:
    """Codes of a signed integer: the full two's complement range below 8 bits, -127 to 127 at 8."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits: expected 2..8, got {bits}")
    top = 2 ** (bits - 1)
    return range(-top + (bits == 8), top)


FORMATS: dict[str, Format] = {
    "fp32": Format("fp32", 32),
    **{f"int{bits}": Format(f"int{bits}", bits, integer_codes(bits)) for bits in (8, 6, 5, 4, 3, 2)},
}


class _Bits(Mapping[str, int]):
    """Bits per weight by format's name: a view of FORMATS."""

    def __getitem__(self, name: str) -> int:
        return FORMATS[name].bits

    def __iter__(self) -> Iterator[str]:
        return iter(FORMATS)

    def __len__(self) -> int:
        return len(FORMATS)


BITS: Mapping[str, int] = _Bits()


def format_named(name: str) -> Format:
    """The format of this name. Raises ValueError with the names there are."""
    if name not in FORMATS:
        raise ValueError(f"weight format: expected one of {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]
