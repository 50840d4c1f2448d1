"""Records of blocks, one per kind: what is chosen for a block, as it stands in a candidate's JSON."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["relu", "relu6", "hardswish"]
Kernel = Literal[3, 5, 7]
Positive = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """Base of the records here: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BlockConfig(Protocol):
    """What the record of every kind of block holds; it may hold more: an `expansion`, choices of its own."""

    @property
    def kind(self) -> str: ...

    @property
    def kernel(self) -> int: ...

    @property
    def activation(self) -> Activation: ...

    def __hash__(self) -> int: ...


class InvertedResidualConfig(Record):
    """One inverted residual block (Sandler et al. 2018, arXiv:1801.04381; squeeze-excite as in arXiv:1905.02244).

    `expansion` multiplies the input width; with 1 there is no expansion layer.
    """

    kind: Literal["inverted_residual"] = "inverted_residual"
    kernel: Kernel
    expansion: Positive
    squeeze_excite: bool = False
    activation: Activation = "relu"


class FusedInvertedResidualConfig(Record):
    """One convolution in place of expansion and depthwise (Tan & Le 2021, EfficientNetV2, arXiv:2104.00298).

    `expansion` multiplies the input width.
    """

    kind: Literal["fused_inverted_residual"]
    kernel: Kernel
    expansion: Positive
    activation: Activation = "relu"


class ResidualConfig(Record):
    """The basic residual block of two convolutions (He et al. 2016, arXiv:1512.03385), shortcut 1x1 where needed.

    `expansion` multiplies the output width; it is 1 in the paper.
    """

    kind: Literal["residual"]
    kernel: Kernel
    expansion: Positive = 1
    activation: Activation = "relu"


class ShuffleConfig(Record):
    """One ShuffleNetV2 unit (Ma et al. 2018, arXiv:1807.11164); `expansion` multiplies half the output width."""

    kind: Literal["shuffle"]
    kernel: Kernel
    expansion: Positive = 1
    activation: Activation = "relu"


class PlainConfig(Record):
    """One convolution with batch norm and activation, nothing around it: the layer of VGG (arXiv:1409.1556)."""

    kind: Literal["plain"]
    kernel: Kernel
    activation: Activation = "relu"
