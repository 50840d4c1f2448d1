"""The section `training`: how one candidate is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nas.study.numbers import Choices, Range, Searchable
from nas.study.section import AboveZero, AtLeastOne, Factor, NotNegative, Section, Share

PEAK_LEARNING_RATES = {"sgd": 0.1, "adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3}


class RandAugment(Section):
    """Random distortions of every training image (arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=1, le=8)] = Field(2, description="How many distortions an image gets.")
    magnitude: Annotated[float, Field(ge=0, le=30)] = Field(
        9, description="How strong each is, from 0 for none to 30 for torchvision's strongest."
    )


class Distillation(Section):
    """A teacher's soft targets in the loss (arXiv:1503.02531)."""

    teacher: Literal["self", "reference"] = Field(
        "self",
        description="self: the candidate's own dense network teaches the phases after it. reference: one network, "
        "trained once per run folder, teaches every candidate in every phase.",
    )
    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Share of the soft targets in the loss; the labels have the rest."
    )
    temperature: AboveZero = Field(4.0, description="Softens both sides' probabilities: logits are divided by it.")
    architecture: str | None = Field(
        None, description="The reference as a candidate.json; by default the largest network of the space."
    )

    @model_validator(mode="after")
    def _check(self) -> Distillation:
        if self.architecture is not None and self.teacher != "reference":
            raise ValueError(f"architecture: expected null with teacher {self.teacher}, got {self.architecture!r}")
        return self


class Training(Section):
    """How one candidate is trained: dense, then pruned, then quantization-aware.

    A number may be written as {low, high, log} or {choices} and is then searched.
    """

    # Type checkers see what a searched number is after `resolved`.

    epochs: AtLeastOne = Field(
        20, description="Epochs of a finalist's training, all phases together; of a search trial's too by default."
    )
    batch_size: Annotated[int, Field(ge=2)] = Field(
        128, description="Images per step, at most as many as there are training images."
    )
    optimizer: Literal["sgd", "adamw", "adam", "rmsprop"] = Field("sgd", description="sgd has Nesterov momentum.")
    learning_rate: Searchable[AboveZero] | None = Field(
        None,
        description="Peak of the schedule. By default 0.1 for sgd, 0.003 for adam and adamw, 0.001 for rmsprop.",
    )
    momentum: Searchable[Share] = Field(0.9, description="Momentum of sgd and rmsprop; adam and adamw have their own.")
    weight_decay: Searchable[NotNegative] = Field(
        5e-4,
        description="L2 penalty on the weights of convolutions and linear layers; for adamw alone decoupled from the "
        "gradient.",
    )
    l1: Searchable[NotNegative] = Field(0.0, description="L1 penalty on the same weights; 0 is none.")
    schedule: Literal["cosine", "one_cycle", "step", "exponential", "linear", "constant"] = Field(
        "one_cycle",
        description="How the rate falls after its warm-up: along half a cosine to 0 (cosine and "
        "one_cycle, which differ in their default warm-up), by `gamma` at `milestones` (step), by `gamma` in all "
        "(exponential), in a line to 0, or not at all.",
    )
    cycle: Literal["whole", "phase"] = Field(
        "whole",
        description="whole: the schedule runs once over all phases, in quantization-aware training at a tenth of the "
        "peak at most. phase: it runs anew in each, pruned training at half of the peak, quantization-aware training "
        "at a tenth.",
    )
    warm_up: Share | None = Field(
        None,
        description="Share of the schedule in which the rate rises to its peak; by default 0.25 for one_cycle, else 0.",
    )
    milestones: tuple[Share, ...] = Field(
        (0.5, 0.75), description="Schedule step: the shares of it after which the rate is multiplied by `gamma`."
    )
    gamma: Searchable[Factor] = Field(
        0.1, description="Factor on the rate: at each milestone (step), or at the end of the schedule (exponential)."
    )
    label_smoothing: Searchable[Share] = Field(
        0.0, description="Share of each label that is spread over all classes; 0 is none."
    )
    dropout: Searchable[Share] = Field(
        0.0,
        description="Probability that an input of the classifier is zeroed in dense and pruned training; 0 is none.",
    )
    ema: Searchable[Share] = Field(
        0.0,
        description="Decay of the moving average of weights that each phase ends with, smaller in its first steps; 0 "
        "is none.",
    )
    mixup: Searchable[NotNegative] = Field(
        0.0, description="Alpha of the Beta distribution by which images of a batch are blended in pairs; 0 is none."
    )
    randaugment: RandAugment | None = Field(
        None, description="Random distortions of every training image; by default none."
    )
    cutout: Searchable[Share] = Field(
        0.0, description="Side of a square that is blackened at random, as a share of the image's side; 0 is none."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: every class weighs the same in the loss, however many images it has."
    )
    distillation: Distillation | None = Field(
        None, description="A teacher's soft targets in the loss; by default none."
    )
    patience: AtLeastOne | None = Field(
        None,
        description="Epochs without a better accuracy on at most 1000 validation images after which the dense phase "
        "ends, with its best weights; by default it runs to its end.",
    )
    shares: tuple[Share, Share, Share] = Field(
        (0.5, 0.2, 0.3),
        description="Fractions of the epochs for dense, pruned and quantization-aware training; a phase that a "
        "candidate does not need leaves its share to the one before.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of dense and pruned training: auto takes bf16 where a probe finds it over 10 % faster. "
        "Quantization-aware training is in fp32.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where training runs; auto takes a GPU if there is one."
    )

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(shares) - 1) > 1e-6 or shares[0] == 0:
            raise ValueError(f"expected shares that sum to 1, the first above 0, got {list(shares)}")
        return shares

    @field_validator("milestones")
    @classmethod
    def _ascend(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"expected shares in ascending order, got {list(milestones)}")
        return milestones

    @model_validator(mode="after")
    def _every_gene_has_an_effect(self) -> Training:
        uses = {
            "momentum": ("optimizer", self.optimizer, ("sgd", "rmsprop")),
            "gamma": ("schedule", self.schedule, ("step", "exponential")),
        }
        for name, (key, chosen, having) in uses.items():
            if name in self.searched and chosen not in having:
                raise ValueError(f"{name}: searched only with {key} {' or '.join(having)}, got {key} {chosen}")
        return self

    @property
    def searched(self) -> dict[str, Range[float] | Choices[float]]:
        """The numbers that are searched, in the order they are asked for."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in values if isinstance(value, Range | Choices)}

    def resolved(self, numbers: Mapping[str, float]) -> Training:
        """This record with the searched numbers put in: plain numbers everywhere."""
        if set(numbers) != set(self.searched):
            raise ValueError(f"training numbers: expected {sorted(self.searched)}, got {sorted(numbers)}")
        return self.model_copy(update=dict(numbers)) if numbers else self

    @property
    def needs_reference(self) -> bool:
        """Whether one reference network teaches all candidates."""
        return self.distillation is not None and self.distillation.teacher == "reference"

    @property
    def peak_learning_rate(self) -> float:
        return self.learning_rate or PEAK_LEARNING_RATES[self.optimizer]

    @property
    def warm_up_share(self) -> float:
        """Share of the schedule's steps in which the rate rises: a quarter of one cycle, else none."""
        return (0.25 if self.schedule == "one_cycle" else 0.0) if self.warm_up is None else self.warm_up
