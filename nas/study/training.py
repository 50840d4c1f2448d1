"""The section `training`: how one candidate is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from compressors.steps import retraining_of, stage_names
from nas.study.numbers import Choices, Choosable, Range, Searchable, choices_of, freedoms, smallest
from nas.study.recipe import (
    BatchNorm,
    Calibration,
    Cycle,
    Distillation,
    Optimizer,
    Quantization,
    RandAugment,
    Recipe,
    Schedule,
)
from nas.study.section import AboveZero, AtLeastOne, Factor, NotNegative, Section, Share
from search_spaces.remembered import remembered

BatchSize = Annotated[int, Field(ge=2), "BatchSizes"]
OF_CANDIDATE = ("quantization",)  # what is drawn with a candidate and stands in its plan
LISTED = ("dense", "pruned", "quantized")  # the stages of version 0.1
FROM_WEIGHTS = {"dense": 0.3, "pruned": 0.3, "quantized": 0.4}  # of a network that is trained already


def _known_stage(name: str) -> str:
    """A key of `shares`; ValueError for what is neither the first stage nor a compression step with training."""
    if name not in stage_names():
        raise ValueError(f"expected one of {', '.join(stage_names())}, got {name!r}")
    return name


StageName = Annotated[
    str, AfterValidator(_known_stage), WithJsonSchema({"enum": list(stage_names()), "type": "string"})
]


def _by_stage(shares: Any) -> Any:
    """Studies of version 0.1 list the shares of the three stages without their names."""
    is_list = isinstance(shares, tuple | list) and len(shares) == len(LISTED)
    return dict(zip(LISTED, shares, strict=True)) if is_list else shares


def _today(cycle: Any) -> Any:
    """Studies of version 0.1 write `phase` for `stage`."""
    return "stage" if cycle == "phase" else cycle


class Training(Section):
    """How one candidate is trained: dense, then after each step that makes it smaller, at last quantization-aware.

    A number may be written as {low, high, log} or {choices} and is then searched; a word and batch_size as {choices}.
    """

    epochs: AtLeastOne = Field(
        20,
        description="Epochs of a training, all stages together: of a finalist's unless finals.epochs, and of a search "
        "trial's unless search.epochs says otherwise.",
    )
    batch_size: Choosable[BatchSize] = Field(
        128, description="Images per step, at most as many as there are training images."
    )
    optimizer: Choosable[Annotated[Optimizer, "Optimizers"]] = Field(
        "sgd", description="What updates the weights; sgd has Nesterov momentum."
    )
    learning_rate: Searchable[AboveZero] | None = Field(
        None,
        description="Peak of the schedule. By default 0.1 for sgd, 0.003 for adam and adamw, 0.001 for rmsprop.",
    )
    momentum: Searchable[Share] = Field(0.9, description="Momentum of sgd and rmsprop; adam and adamw have their own.")
    weight_decay: Searchable[NotNegative] = Field(
        5e-4,
        description="L2 penalty on the weights of convolutions and linear layers; decoupled from the gradient with "
        "adamw only.",
    )
    l1: Searchable[NotNegative] = Field(0.0, description="L1 penalty on the same weights; 0 is none.")
    bn_sparsity: Searchable[NotNegative] = Field(
        0.0,
        description="L1 penalty on the scales of batch norms in the dense stage (arXiv:1708.06519), which sets apart "
        "what importance bn_scale ranks; 0 is none.",
    )
    rate_weight: Searchable[NotNegative] = Field(
        0.0,
        description="Weight in the loss of quantization-aware training of the bits that a weight's code takes when the "
        "file is entropy-coded (arXiv:1812.07520): the larger, the smaller `coded_bytes`. It is what a bit per "
        "weight may cost in loss: 0.01 to 0.1 are worth trying, more where most weights are zero; 0 is none.",
    )
    schedule: Schedule = Field(
        "one_cycle",
        description="How the rate falls after its warm-up: along half a cosine to 0 (cosine and one_cycle, which "
        "differ in their default warm-up), by the factor `gamma` at each of the `milestones` (step), by the factor "
        "`gamma` in total (exponential), linearly to 0 (linear), or not at all (constant).",
    )
    cycle: Annotated[Cycle, BeforeValidator(_today)] = Field(
        "whole",
        description="whole: the schedule runs once over all stages. stage: the schedule runs once in each stage, with "
        "half of the peak in the later ones. tail: the schedule runs once over the stages before quantization-aware "
        "training, which follows at a tenth of the peak, falling along half a cosine to 0.",
    )
    batch_norm: BatchNorm = Field(
        "live",
        description="What becomes of batch norm in quantization-aware training. live: it follows the batches in the "
        "first two thirds of the stage, is frozen in the rest and folded at the end. folded: it is folded before; the "
        "rate is then at most a tenth of the peak. live measured better with 8, 4 and 2 bits.",
    )
    quantization: Choosable[Annotated[Quantization, "Quantizations"]] = Field(
        "aware",
        description="How weight formats below fp32 are brought about. aware: the last stage trains with the rounding. "
        "static: the network is quantized after all training, with ranges calibrated on training images; the share of "
        "the quantized stage goes to the one before. dynamic: after all training as well, of linear layers alone, "
        "whose inputs get their range as the network runs; convolutions stay fp32, and weight_format may be fp32 or "
        "int8. Choices are a gene of the candidate.",
    )
    calibration: Calibration = Field(
        "minmax",
        description="What sets the ranges of activations in static quantization (arXiv:2004.09602): all values, all "
        "but the outermost 0.01 %, the range of least squared error, or that of least Kullback-Leibler divergence.",
    )
    bias_correction: bool = Field(
        True,
        description="Whether static quantization takes the mean error that the rounding of weights makes off the "
        "biases (arXiv:1906.04721); with 4 and 3 bits that measured better.",
    )
    equalization: bool = Field(
        False,
        description="Whether static quantization first scales channels so that the weights before and behind a ReLU "
        "have ranges of one size (arXiv:1906.04721); relu6 and hardswish do not allow it.",
    )
    warm_up: Share | None = Field(
        None,
        description="Share of the schedule in which the rate rises to its peak; default 0.25 with one_cycle, else 0.",
    )
    milestones: tuple[Share, ...] = Field(
        (0.5, 0.75), description="Schedule step: shares of the schedule after which the rate is multiplied by `gamma`."
    )
    gamma: Searchable[Factor] = Field(
        0.1, description="Factor on the rate at each milestone (step) or over the whole schedule (exponential)."
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
        description="Decay of the moving average of weights that each stage ends with, smaller in its first steps; 0 "
        "is none.",
    )
    mixup: Searchable[NotNegative] = Field(
        0.0, description="Alpha of the Beta distribution by which pairs of images of a batch are blended; 0 is none."
    )
    randaugment: RandAugment | None = Field(
        None, description="Random distortions of every training image; by default none."
    )
    cutout: Searchable[Share] = Field(
        0.0, description="Side of a square that is blackened at random, as a share of the image's side; 0 is none."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: every class has the same weight in the loss, however many images it has."
    )
    distillation: Distillation | None = Field(
        None, description="A teacher's soft targets in the loss; by default none."
    )
    patience: AtLeastOne | None = Field(
        None,
        description="Epochs without a better accuracy, on at most 1000 validation images, after which the dense stage "
        "ends with its best weights; by default it is not stopped early.",
    )
    shares: Annotated[dict[StageName, Share], BeforeValidator(_by_stage)] = Field(
        {name: retraining_of(name).share for name in LISTED},
        description="Shares of the epochs by stage: dense, those behind the steps of compression, and quantized "
        "(quantization-aware training); their sum is 1. A stage that a candidate does not need leaves its share to the "
        "one before it; a stage that is not named here has its default share "
        f"({', '.join(f'{name} {retraining_of(name).share:g}' for name in stage_names() if name not in LISTED)}), and "
        "all are then scaled to a sum of 1. Of a network that begins with weights the default is "
        f"{', '.join(f'{name} {share:g}' for name, share in FROM_WEIGHTS.items())}.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of dense and pruned training; auto takes bf16 where a probe finds it over 10 % faster. "
        "Quantization-aware training always uses fp32.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where training runs; auto takes a GPU where there is one."
    )

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: dict[str, float]) -> dict[str, float]:
        if abs(sum(shares.values()) - 1) > 1e-6 or not shares.get("dense"):
            came = ", ".join(f"{name}: {share:g}" for name, share in shares.items())
            raise ValueError(f"expected shares that sum to 1, that of dense above 0, got {{{came}}}")
        return {name: shares[name] for name in stage_names() if name in shares}

    @field_validator("milestones")
    @classmethod
    def _ascend(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"expected shares in ascending order, got {list(milestones)}")
        return milestones

    @model_validator(mode="after")
    def _every_gene_has_an_effect(self) -> Training:
        uses = (
            ("momentum", "optimizer", self.optimizers, ("sgd", "rmsprop")),
            ("gamma", "schedule", (self.schedule,), ("step", "exponential")),
        )
        for name, key, chosen, having in uses:
            if name in self.searched and not set(chosen) & set(having):
                came = " or ".join(chosen)
                raise ValueError(f"{name}: searched only with {key} {' or '.join(having)}, got {key} {came}")
        return self

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that a training may have."""
        return choices_of(self.optimizer)

    @property
    def quantizations(self) -> tuple[Quantization, ...]:
        """Those that a candidate may have, drawn with it."""
        return choices_of(self.quantization)

    @property
    @remembered
    def searched(self) -> dict[str, Range[Any] | Choices[Any]]:
        """The numbers and words that are searched, in the order they are asked for; `distillation.weight` is nested."""
        return {name: freedom for name, freedom in freedoms(self) if name not in OF_CANDIDATE}

    def resolved(self, numbers: Mapping[str, float | str]) -> Recipe:
        """These settings with a value for every searched number; ValueError where one is missing or unknown."""
        if set(numbers) != set(self.searched):
            raise ValueError(f"training numbers: expected {sorted(self.searched)}, got {sorted(numbers)}")
        settings = {field.name: getattr(self, field.name) for field in fields(Recipe)}
        for name, number in numbers.items():
            key, _, inner = name.partition(".")
            settings[key] = settings[key].model_copy(update={inner: number}) if inner else number
        return Recipe(**settings)

    @property
    def keeps_moments(self) -> bool:
        """Whether the optimizer has a first moment, whichever of the searched numbers is drawn."""
        return smallest(self.momentum) > 0 or set(self.optimizers) <= {"adam", "adamw"}

    @property
    def needs_reference(self) -> bool:
        """Whether one reference network teaches all candidates."""
        return self.distillation is not None and self.distillation.teacher != "self"
