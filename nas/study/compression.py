"""The section `compression`: which pruning ratios and weight formats may be drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compressors.formats import FORMATS, WeightFormat
from nas.study.section import Section, each_once

PruningRatio = Annotated[float, Field(ge=0, le=0.875)]


class Compression(Section):
    """Which pruning ratios and weight formats may be drawn."""

    pruning_ratio: Annotated[tuple[PruningRatio, ...], Field(min_length=1)] = Field(
        (0.0,),
        description="Choices of the fraction of a block's inner channels that is removed; the remaining width is "
        "rounded to the space's width_grid.",
    )
    weight_format: Annotated[tuple[WeightFormat, ...], Field(min_length=1)] = Field(
        ("fp32",),
        description="Choices of the format of weights; formats below 8 bits make the file smaller, not faster. Beside "
        "evenly spaced integers: ternary (-s, 0, s) and binary (-s, s) with a scale per channel, codebook2, codebook3, "
        "codebook4 (4, 8 or 16 values that a layer shares), pow2 (8 bits, scales of weights and activations powers of "
        "two) and int8_asymmetric (8 bits, a zero point per channel; not for OpenVINO).",
    )
    granularity: Literal["network", "stage", "block", "layer"] = Field(
        "block", description="The unit that has one choice of ratio and format: its layers share it."
    )
    importance: Literal["l1", "l2", "bn_scale"] = Field(
        "l2",
        description="What ranks channels: the L1 or L2 norm of their weights, or the scale of their batch norms. "
        "Channels of least importance are removed.",
    )
    stage_widths: bool = Field(
        False,
        description="Whether the widths between blocks are pruned as well. Widths that skip connections tie together "
        "have one ratio; widths that shuffle units split are not pruned.",
    )
    edges_below_int8: bool = Field(
        False,
        description="Whether the first and the last layer may have fewer than 8 bits; by default they have int8 "
        "instead.",
    )
    learned_step_sizes: tuple[WeightFormat, ...] = Field(
        ("int4", "int3", "int2"),
        description="Formats whose step sizes are trained with the weights (LSQ, arXiv:1902.08153) instead of being "
        "fitted to them; by default those for which training them measured better. Scales of ternary and binary "
        "weights and entries of codebooks always are.",
    )

    @field_validator("pruning_ratio", "weight_format", "learned_step_sizes")
    @classmethod
    def _distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        each_once("choice", choices)
        return choices

    @field_validator("learned_step_sizes")
    @classmethod
    def _have_steps(cls, formats: tuple[WeightFormat, ...]) -> tuple[WeightFormat, ...]:
        if others := [name for name in formats if not FORMATS[name].has_steps]:
            raise ValueError(f"expected formats with step sizes, got {', '.join(others)} among {list(formats)}")
        return formats
