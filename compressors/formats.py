"""Which numbers weights and activations may be, as plain data: a row for each format of weights. No torch.

How a file stores a format is decided in `nas/runtimes/onnx/weights.py`, how weights are rounded to its codes in
`compressors/quantization/roundings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

WeightFormat = Literal[
    "fp32", "int8", "int6", "int5", "int4", "int3", "int2",
    "ternary", "binary", "codebook4", "codebook3", "codebook2", "pow2", "int8_asymmetric",
]  # fmt: skip
STEPPED = ("uniform", "ternary", "binary")  # roundings whose step sizes can be trained


@dataclass(frozen=True)
class Format:
    """A format of weights: bits per weight in the file, and the integer codes a weight may have (none: floats).

    `rounding` names the row of `ROUNDINGS` that brings weights to codes. trains_steps: whether its step sizes are
    always trained with the weights; those of other formats are where that is asked for.
    """

    name: str
    bits: int
    codes: range = range(0)
    rounding: str = "uniform"
    trains_steps: bool = False

    @property
    def is_float(self) -> bool:
        return not self.codes

    @property
    def has_codebook(self) -> bool:
        """Whether a code is the place of a weight's value in a short list that the whole layer shares."""
        return self.rounding == "codebook"

    @property
    def has_zero(self) -> bool:
        """Whether a weight can be 0: a codebook has an entry for it where weights are."""
        return self.is_float or self.has_codebook or 0 in self.codes

    @property
    def has_zero_points(self) -> bool:
        """Whether the code of 0 is another in each channel."""
        return self.rounding == "asymmetric"

    @property
    def is_fixed_point(self) -> bool:
        """Whether all scales are powers of two, those of the layer's activations too."""
        return self.rounding == "pow2"

    @property
    def fills_8_bits(self) -> bool:
        """Whether the integers that a kernel reads are as large as 8 bits allow."""
        return not self.is_float and (self.bits == 8 or self.has_codebook)

    @property
    def has_steps(self) -> bool:
        """Whether it has step sizes that can be trained with the weights."""
        return not self.is_float and self.rounding in STEPPED

    @property
    def information(self) -> float:
        """Bits that a weight tells: fewer than are stored where only some codes are used, as by three values of four.

        The one code of 256 that int8 leaves out is not counted.
        """
        return math.log2(len(self.codes)) if len(self.codes) < min(2**self.bits, 255) and self.codes else self.bits


@dataclass(frozen=True)
class ActivationScheme:
    """The grid of activations: `bits` wide, signed or not; a symmetric one has zero point 0.

    powers_of_two: its scale is one, so that integers are rescaled by shifts.
    """

    bits: int = 8
    signed: bool = False
    symmetric: bool = False
    powers_of_two: bool = False

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

    @property
    def holds_pixels(self) -> bool:
        """Whether 256 values of a pixel fit onto it exactly, whatever their mean and deviation."""
        return self.bits == 8 and not self.symmetric and not self.powers_of_two


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
    "ternary": Format("ternary", 2, range(-1, 2), "ternary", trains_steps=True),
    "binary": Format("binary", 1, range(-1, 2, 2), "binary", trains_steps=True),
    **{f"codebook{bits}": Format(f"codebook{bits}", bits, integer_codes(bits), "codebook") for bits in (4, 3, 2)},
    "pow2": Format("pow2", 8, integer_codes(8), "pow2"),
    "int8_asymmetric": Format("int8_asymmetric", 8, range(-128, 128), "asymmetric"),
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
