"""The section `compression`: which pruning ratios and weight formats may be drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compressors.plan import WeightFormat
from nas.study.section import Section, each_once

PruningRatio = Annotated[float, Field(ge=0, le=0.875)]


class Compression(Section):
    """Which pruning ratios and weight formats may be drawn."""

    pruning_ratio: Annotated[tuple[PruningRatio, ...], Field(min_length=1)] = Field(
        (0.0,),
        description="Fractions of a block's inner channels to cut, to choose from; what stays is rounded to the "
        "space's width_grid.",
    )
    weight_format: Annotated[tuple[WeightFormat, ...], Field(min_length=1)] = Field(
        ("fp32",),
        description="Formats of weights, to choose from; below 8 bits the file gets smaller, not faster.",
    )
    granularity: Literal["network", "stage", "block", "layer"] = Field(
        "block", description="What shares one choice of ratio and format."
    )
    importance: Literal["l1", "l2", "bn_scale"] = Field(
        "l2",
        description="What ranks channels, the least being cut: the L1 or L2 norm of their weights, or the scale of "
        "their batch norms.",
    )
    stage_widths: bool = Field(
        False,
        description="Whether the widths between blocks are pruned as well, with one ratio for all that skips tie "
        "together; widths that shuffle units split are not.",
    )
    edges_below_int8: bool = Field(
        False, description="Whether the first and the last layer may have fewer than 8 bits; by default int8 instead."
    )
    learned_step_sizes: tuple[WeightFormat, ...] = Field(
        ("int4", "int3", "int2"),
        description="Formats whose step sizes are trained with the weights (LSQ) instead of being fitted to them; by "
        "default those where that measured better.",
    )

    @field_validator("pruning_ratio", "weight_format", "learned_step_sizes")
    @classmethod
    def _distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        each_once("choice", choices)
        return choices

    @field_validator("learned_step_sizes")
    @classmethod
    def _have_steps(cls, formats: tuple[WeightFormat, ...]) -> tuple[WeightFormat, ...]:
        if "fp32" in formats:
            raise ValueError(f"expected formats of integers, which fp32 is not, got {list(formats)}")
        return formats
