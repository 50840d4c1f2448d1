"""Records of the blocks a stage may hold, one per kind; an inverted residual is what a record without `kind` means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Activation = Literal["relu", "relu6", "hardswish"]
Family = Literal["inverted_residual", "fused_inverted_residual", "residual", "shuffle"]
Positive = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """Base of the records here: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InvertedResidualConfig(Record):
    """One inverted residual block (Sandler et al. 2018, arXiv:1801.04381; squeeze-excite as in arXiv:1905.02244).

    `expansion` multiplies the input width; with 1 there is no expansion layer.
    """

    kind: Literal["inverted_residual"] = "inverted_residual"
    kernel: Literal[3, 5, 7]
    expansion: Positive
    squeeze_excite: bool = False
    activation: Activation = "relu"


class FusedInvertedResidualConfig(Record):
    """One convolution in place of expansion and depthwise (Tan & Le 2021, EfficientNetV2, arXiv:2104.00298)."""

    kind: Literal["fused_inverted_residual"]
    kernel: Literal[3, 5, 7]
    expansion: Positive
    activation: Activation = "relu"


class ResidualConfig(Record):
    """The basic residual block of two convolutions (He et al. 2016, arXiv:1512.03385), shortcut 1x1 where needed.

    `expansion` multiplies the output width; it is 1 in the paper.
    """

    kind: Literal["residual"]
    kernel: Literal[3, 5, 7]
    expansion: Positive = 1
    activation: Activation = "relu"


class ShuffleConfig(Record):
    """One ShuffleNetV2 unit (Ma et al. 2018, arXiv:1807.11164); `expansion` multiplies half the output width."""

    kind: Literal["shuffle"]
    kernel: Literal[3, 5, 7]
    expansion: Positive = 1
    activation: Activation = "relu"


def _kind(value: Any) -> str:
    given = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return given or "inverted_residual"


BlockConfig = Annotated[
    Annotated[InvertedResidualConfig, Tag("inverted_residual")]
    | Annotated[FusedInvertedResidualConfig, Tag("fused_inverted_residual")]
    | Annotated[ResidualConfig, Tag("residual")]
    | Annotated[ShuffleConfig, Tag("shuffle")],
    Discriminator(_kind),
]
