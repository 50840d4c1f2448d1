"""The section `compression`: which ways of making a network smaller may be drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from compressors.formats import FORMATS, WeightFormat
from compressors.low_rank.factoring import Factoring
from nas.study.masking import MaskChoice, MaskChoices
from nas.study.section import Section, each_once, one_or_several, or_one

Importance = Literal[
    "l1", "l2", "bn_scale", "taylor", "saliency", "momentum", "apoz", "geometric_median", "random", "leave_one_out"
]
PruningRatio = Annotated[float, Field(ge=0, le=0.875)]


def _spelling(value: Any) -> str:
    """The tag of the way in which choices are written: one alone, or a list."""
    return "choices" if isinstance(value, list | tuple) else "choice"


Factorings = Annotated[tuple[Factoring | None, ...], Field(min_length=1)]
LowRankChoices = Annotated[
    Annotated[Factoring | None, Tag("choice")] | Annotated[Factorings, Tag("choices")], Discriminator(_spelling)
]


class Compression(Section):
    """How networks are made smaller: what may be drawn, and how it is done.

    Ratios, formats, masks, ways of low rank and removals are one value, or a list of choices and then searched.
    """

    pruning_ratio: Annotated[tuple[PruningRatio, ...], Field(min_length=1), BeforeValidator(one_or_several)] = Field(
        (0.0,),
        json_schema_extra=or_one,
        description="The fraction of a block's inner channels that is removed, or choices of it; the remaining width "
        "is rounded to the space's width_grid.",
    )
    weight_format: Annotated[tuple[WeightFormat, ...], Field(min_length=1), BeforeValidator(one_or_several)] = Field(
        ("fp32",),
        json_schema_extra=or_one,
        description="The format of weights, or choices; formats below 8 bits make the file smaller, not faster. Beside "
        "evenly spaced integers: ternary (-s, 0, s) and binary (-s, s) with a scale per channel, codebook2, codebook3, "
        "codebook4 (4, 8 or 16 values that a layer shares), pow2 (8 bits, scales of weights and activations powers of "
        "two) and int8_asymmetric (8 bits, a zero point per channel; not for OpenVINO).",
    )
    mask: MaskChoices = Field(
        None,
        description="Single weights that become zero after the dense stage and stay so: one amount, or choices of it; "
        "null, the default, leaves all. The file holds a bit mask and the weights that are left where that is smaller. "
        "On a CPU it runs as fast as with all weights.",
    )
    low_rank: LowRankChoices = Field(
        None,
        description="How layers are factored into smaller ones after they were trained whole: one way, or choices, of "
        "which null leaves them whole; by default they stay so. So do layers that factors would not make smaller, "
        "depthwise ones, and the first and the last layer.",
    )
    granularity: Literal["network", "stage", "block", "layer"] = Field(
        "block",
        description="The unit that has one choice of ratio, format, mask and way of low rank: its layers share it. "
        "Blocks and activations are removed by block where it is layer; budgets of the whole network are one gene.",
    )
    importance: Importance = Field(
        "l2",
        description="What ranks channels; those of least importance are removed. l1, l2: norm of their weights. "
        "bn_scale: scale of their batch norms. taylor: gradient times weight (arXiv:1906.10771). saliency: gradient "
        "times activation (arXiv:1611.06440). momentum: the optimizer's first moments. apoz: share of activations "
        "that are not above 0 (arXiv:1607.03250). geometric_median: distance to the other filters "
        "(arXiv:1811.00250). random: none. leave_one_out: the exact change of the loss, in one pass per channel: slow.",
    )
    pruning_scope: Literal["local", "global"] = Field(
        "local",
        description="local: every group of channels loses its own ratio. global: pruning_ratio is one budget of all "
        "channels, and those of least importance in the whole network are removed, at most 7 of 8 of a group. What "
        "is left depends on weights: before its training a candidate's costs are a bound.",
    )
    pruning_schedule: Literal["one_shot", "iterative"] = Field(
        "one_shot",
        description="one_shot: channels are removed before the pruned stage. iterative: they become zero in twelve "
        "rounds over its first three tenths, many at first and few at last (arXiv:1710.01878), each round by the "
        "importance of then, and are removed when it is over. Masks grow in the same way, over two thirds of theirs.",
    )
    rewind: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="Share of the dense stage's steps to whose weights all that survives pruning goes back "
        "(arXiv:1912.05671); it is worth a pruned stage about as long as the dense one. By default the weights are "
        "kept.",
    )
    stage_widths: bool = Field(
        False,
        description="Whether the widths between blocks are pruned as well. Widths that skip connections tie together "
        "have one ratio; widths that shuffle units split are not pruned. Of a network that exists these are the widths "
        "that several layers write.",
    )
    edges_below_int8: bool = Field(
        False,
        description="Whether the first and the last layer may have fewer than 8 bits; by default they have int8 "
        "instead.",
    )
    activation_bits: Literal[8, 4] = Field(
        8,
        description="Bits of activations between quantized layers. No runtime here computes with 4: their accuracy is "
        "that of a simulation, the file that is measured has 8, and such networks are on no front.",
    )
    learned_step_sizes: tuple[WeightFormat, ...] = Field(
        ("int4", "int3", "int2"),
        description="Formats whose step sizes are trained with the weights (LSQ, arXiv:1902.08153) instead of being "
        "fitted to them; by default those for which training them measured better. Scales of ternary and binary "
        "weights and entries of codebooks always are.",
    )
    remove_blocks: Annotated[tuple[bool, ...], Field(min_length=1), BeforeValidator(one_or_several)] = Field(
        (False,),
        json_schema_extra=or_one,
        description="Whether blocks are removed after the dense stage; their skip is left. Blocks without a skip stay. "
        "One value, or choices.",
    )
    remove_activations: Annotated[tuple[bool, ...], Field(min_length=1), BeforeValidator(one_or_several)] = Field(
        (False,),
        json_schema_extra=or_one,
        description="Whether the activations of blocks are removed after the dense stage. Layers that nothing "
        "separates any more are merged where that is exact and makes the network smaller. One value, or choices.",
    )

    @property
    def mask_choices(self) -> tuple[MaskChoice | None, ...]:
        return self.mask if isinstance(self.mask, tuple) else (self.mask,)

    @field_validator("mask")
    @classmethod
    def _masks_of_one_scope(cls, given: Any) -> Any:
        choices = given if isinstance(given, tuple) else ()
        each_once("choice", choices)
        if len({choice.scope for choice in choices if choice is not None}) > 1:
            raise ValueError("expected choices of one scope, got local and global ones")
        return given

    @property
    def low_rank_choices(self) -> tuple[Factoring | None, ...]:
        return self.low_rank if isinstance(self.low_rank, tuple) else (self.low_rank,)

    @field_validator("low_rank", "mask", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """Choices come as a list from YAML."""
        return tuple(given) if isinstance(given, list) else given

    @field_validator("low_rank")
    @classmethod
    def _each_low_rank_once(cls, given: Any) -> Any:
        each_once("choice", given if isinstance(given, tuple) else ())
        return given

    @field_validator("pruning_ratio", "weight_format", "learned_step_sizes", "remove_blocks", "remove_activations")
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

    @model_validator(mode="after")
    def _growing_masks_rank_by_size(self) -> Compression:
        ranked = [choice.by for choice in self.mask_choices if choice is not None]
        if self.pruning_schedule == "iterative" and "sensitivity" in ranked:
            raise ValueError(
                "mask: expected by: magnitude with pruning_schedule iterative, which ranks weights as they are by "
                "then, got sensitivity"
            )
        return self

    @model_validator(mode="after")
    def _rewinds_the_same_network_at_once(self) -> Compression:
        if self.rewind is not None and self.pruning_schedule == "iterative":
            raise ValueError(
                "rewind: expected null with pruning_schedule iterative, which ends with the weights it trained, got "
                f"{self.rewind:g}"
            )
        asked = [key for key in ("remove_blocks", "remove_activations") if any(getattr(self, key))]
        asked += ["low_rank"] if any(self.low_rank_choices) else []
        if self.rewind is not None and asked:
            raise ValueError(
                f"rewind: expected null with {asked[0]}, after which the network is not that of the dense stage, got "
                f"{self.rewind:g}"
            )
        return self
