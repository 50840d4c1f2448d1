"""The section `compression`: which pruning ratios and weight formats may be drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compressors.formats import FORMATS, WeightFormat
from nas.study.masking import MaskChoice, MaskChoices, listed
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
        description="Choices of the format of weights; formats below 8 bits make the file smaller, not faster.",
    )
    mask: MaskChoices = Field(
        None,
        description="Single weights that become zero after the dense stage and stay so: one amount, or choices of it; "
        "null leaves all. The file holds a bit mask and the weights that are left where that is smaller. On a CPU it "
        "runs as fast as with all weights.",
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
        "fitted to them; by default those for which training them measured better.",
    )

    @property
    def mask_choices(self) -> tuple[MaskChoice | None, ...]:
        return self.mask if isinstance(self.mask, tuple) else (self.mask,)

    @field_validator("mask", mode="before")
    @classmethod
    def _masks_as_a_tuple(cls, given: Any) -> Any:
        return listed(given)

    @field_validator("mask")
    @classmethod
    def _masks_of_one_scope(cls, given: Any) -> Any:
        choices = given if isinstance(given, tuple) else ()
        each_once("choice", choices)
        if len({choice.scope for choice in choices if choice is not None}) > 1:
            raise ValueError("expected choices of one scope, got local and global ones")
        return given

    @field_validator("pruning_ratio", "weight_format", "learned_step_sizes")
    @classmethod
    def _distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        each_once("choice", choices)
        return choices

    @field_validator("learned_step_sizes")
    @classmethod
    def _have_steps(cls, formats: tuple[WeightFormat, ...]) -> tuple[WeightFormat, ...]:
        if floats := [name for name in formats if FORMATS[name].is_float]:
            raise ValueError(f"expected integer formats, got {', '.join(floats)} among {list(formats)}")
        return formats
