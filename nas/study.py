"""The study file as validated records: what a user may write, and what each key means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from compressors.plan import WeightFormat
from nas.records import COSTS, OBJECTIVES, QUALITIES
from search_spaces.spaces import AnySpace

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Base of every section: frozen, strict in its types, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


TorchvisionSet = Literal[
    "CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS", "SVHN", "STL10", "GTSRB", "DTD", "FGVCAircraft",
    "Flowers102", "Food101", "OxfordIIITPet", "RenderedSST2", "StanfordCars", "Imagenette",
]  # fmt: skip
GREY_SETS = ("MNIST", "FashionMNIST", "KMNIST", "USPS")
MIRRORED_MEANS_ANOTHER = ("MNIST", "KMNIST", "USPS", "SVHN", "GTSRB", "RenderedSST2")
Number = TypeVar("Number")


class Range(Section, Generic[Number]):
    """A number that is searched between two bounds, `log` on a logarithmic scale."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Range[Number]:
        low, high = float(self.low), float(self.high)  # type: ignore[arg-type]
        if low >= high:
            raise ValueError(f"high: expected a number above low {low:g}, got {high:g}")
        if self.log and low <= 0:
            raise ValueError(f"low: expected a number above 0 on a logarithmic scale, got {low:g}")
        return self


class Choices(Section, Generic[Number]):
    """A number that is searched among some."""

    choices: Annotated[tuple[Number, ...], Field(min_length=1)]

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[Number, ...]) -> tuple[Number, ...]:
        if len(set(choices)) != len(choices):
            raise ValueError(f"every choice once, got {list(choices)}")
        return choices


def _spelling(value: Any) -> str:
    """Which of the three ways to write a number is meant."""
    if isinstance(value, Range | Choices):
        return "choices" if isinstance(value, Choices) else "range"
    if not isinstance(value, dict):
        return "number"
    return "choices" if "choices" in value else "range"


AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
if TYPE_CHECKING:
    Searchable = Annotated[Number, "a number, or how it is searched; after Training.resolved a number"]
else:

    class Searchable:
        """`Searchable[X]`: an X, a range of X or choices of X; its bounds hold for each of them."""

        def __class_getitem__(cls, number: Any) -> Any:
            ways = (("number", number), ("range", Range[number]), ("choices", Choices[number]))
            return Annotated[Union[*(Annotated[kind, Tag(tag)] for tag, kind in ways)], Discriminator(_spelling)]


class Data(Section):
    """Where the labelled images come from and how they are split.

    digits: scikit-learn's 8x8 scans. image_folder: `path` holds train/ and, if there are any, val/ and test/, each
    with one folder per class; or the class folders themselves. npz: `path` is a file with arrays images and labels,
    and val_ and test_ ones if there are any. torchvision: its `dataset`, below the folder `path`.
    `validation` and `test` are fractions cut, stratified, from train where that split is missing; what
    `group_pattern` finds in a file's path below its class folder stays in one part.
    """

    source: Literal["digits", "image_folder", "npz", "torchvision"]
    path: str | None = None
    dataset: TorchvisionSet | None = None
    download: bool = False
    validation: Share = 0.1
    test: Share = 0.1
    group_pattern: str | None = None
    channels: Literal[1, 3] | None = None
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"
    unreadable: Literal["skip", "error"] = "skip"
    flip: bool | None = None
    crop_padding: Annotated[int, Field(ge=0)] | None = None
    train_images: AtLeastOne | None = None

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.source != "digits" and not self.path:
            kind = "a file" if self.source == "npz" else "a folder"
            raise ValueError(f"path: expected {kind} for source {self.source}, got nothing")
        if self.source == "torchvision" and self.dataset is None:
            raise ValueError("dataset: expected the name of a set for source torchvision, got nothing")
        for key, source in (("dataset", "torchvision"), ("download", "torchvision"), ("group_pattern", "image_folder")):
            if getattr(self, key) and self.source != source:
                raise ValueError(f"{key}: expected only with source {source}, got source {self.source}")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test: expected less than 1, got {self.validation + self.test}")
        return self

    @field_validator("group_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, got {pattern!r} ({error})") from None
        return pattern

    @property
    def input_channels(self) -> Literal[1, 3]:
        grey = self.source == "digits" or self.dataset in GREY_SETS
        return self.channels or (1 if grey else 3)

    @property
    def augments_flip(self) -> bool:
        """Whether training mirrors images: not where a mirrored one is another sign, unless the study says so."""
        keeps_side = self.source == "digits" or self.dataset in MIRRORED_MEANS_ANOTHER
        return not keeps_side if self.flip is None else self.flip


class Compression(Section):
    """The freedom of pruning and quantization; `granularity` says what shares one gene.

    Pruned are the inner widths of blocks and, with `stage_widths`, the widths between them: one ratio for all that a
    skip ties together.
    """

    pruning_ratio: Annotated[tuple[Annotated[float, Field(ge=0, le=0.875)], ...], Field(min_length=1)] = (0.0,)
    weight_format: Annotated[tuple[WeightFormat, ...], Field(min_length=1)] = ("fp32",)
    granularity: Literal["network", "stage", "block", "layer"] = "block"
    importance: Literal["l1", "l2", "bn_scale"] = "l2"
    stage_widths: bool = False
    edges_below_int8: bool = False
    learned_step_sizes: tuple[WeightFormat, ...] = ()

    @field_validator("pruning_ratio", "weight_format", "learned_step_sizes")
    @classmethod
    def _distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(choices)) != len(choices):
            raise ValueError(f"every choice once, got {list(choices)}")
        return choices


class Constraint(Section):
    """The largest value a cost may take."""

    max: Annotated[float, Field(gt=0)]


class Search(Section):
    """How candidates are proposed, how many, and what one may take.

    `trial_minutes` limits the wall time of one attempt at an evaluation, `trial_gigabytes` the memory of a worker (1 GB
    is 10^9 bytes, libraries and images included); a candidate beyond either is FAILED at once.
    """

    sampler: Literal["random", "tpe", "nsga2", "nsga3"] = "nsga2"
    trials: AtLeastOne = 24
    hours: Annotated[float, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    workers: AtLeastOne = 1
    trial_minutes: Annotated[float, Field(gt=0)] | None = None
    trial_gigabytes: Annotated[float, Field(gt=0)] | None = None
    finalists: Annotated[int, Field(ge=0)] = 8
    epochs: AtLeastOne | None = None
    population: Annotated[int, Field(ge=4)] | None = None


class RandAugment(Section):
    """Random augmentations per image (arXiv:1909.13719): how many, and how strong on a scale to 30."""

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    magnitude: Annotated[float, Field(ge=0, le=30)] = 9


class Distillation(Section):
    """A teacher's soft targets in the loss (arXiv:1503.02531), with `weight` against the labels' 1 - weight.

    self: the candidate's own dense network teaches the phases after it. reference: one network per study, the space's
    largest or the one in the file `architecture` (a candidate.json), trained once per run folder.
    """

    teacher: Literal["self", "reference"] = "self"
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: AboveZero = 4.0
    architecture: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Distillation:
        if self.architecture is not None and self.teacher != "reference":
            raise ValueError(f"architecture: expected null with teacher {self.teacher}, got {self.architecture!r}")
        return self


class Training(Section):
    """One candidate's training: dense, then pruned, then quantization-aware; `shares` split the epochs among them.

    A number may be written as a range or as choices and is then searched; type checkers see what it is after
    `resolved`. `warm_up` and `milestones` are shares of a phase; `gamma` is the factor at each milestone (step) or at
    the end of the phase (exponential). `weight_decay` is an L2 penalty, decoupled from the gradient for adamw alone.
    With `patience` the dense phase ends after so many epochs without a better validation accuracy and keeps its best.
    """

    epochs: AtLeastOne = 20
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: Literal["sgd", "adamw", "adam", "rmsprop"] = "sgd"
    learning_rate: Searchable[AboveZero] | None = None
    momentum: Searchable[Share] = 0.9
    weight_decay: Searchable[NotNegative] = 5e-4
    l1: Searchable[NotNegative] = 0.0
    schedule: Literal["cosine", "one_cycle", "step", "exponential", "linear", "constant"] = "one_cycle"
    warm_up: Share | None = None
    milestones: tuple[Share, ...] = (0.5, 0.75)
    gamma: Searchable[Annotated[float, Field(gt=0, le=1)]] = 0.1
    label_smoothing: Searchable[Share] = 0.0
    dropout: Searchable[Share] = 0.0
    ema: Searchable[Share] = 0.0
    mixup: Searchable[NotNegative] = 0.0
    randaugment: RandAugment | None = None
    cutout: Searchable[Share] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    distillation: Distillation | None = None
    patience: AtLeastOne | None = None
    shares: tuple[Share, Share, Share] = (0.5, 0.2, 0.3)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

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
    def peak_learning_rate(self) -> float:
        return self.learning_rate or {"sgd": 0.1, "adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3}[self.optimizer]

    @property
    def warm_up_share(self) -> float:
        """Share of a phase's steps in which the rate rises: a quarter of one cycle, else none."""
        return (0.25 if self.schedule == "one_cycle" else 0.0) if self.warm_up is None else self.warm_up


class Target(Section):
    """Where latency counts: one runtime on this machine."""

    name: Name
    runtime: Literal["onnxruntime"] = "onnxruntime"
    provider: Literal["CPUExecutionProvider"] = "CPUExecutionProvider"
    threads: AtLeastOne = 1
    batch: AtLeastOne = 1


class Artifacts(Section):
    """Which of the search's networks stay on disk: all, or those on its front. Records and finalists always stay."""

    keep: Literal["all", "front"] = "all"


Cost = Literal["parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"]
Objective = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"
]  # fmt: skip


class ReportOptions(Section):
    """What the report calls itself, and the point beyond which hypervolume does not count, in the files' units.

    Left out, the run fixes the point once its first generation is complete and writes it into its study.yaml.
    """

    title: str | None = None
    hypervolume_reference: dict[Objective, float] = {}


class Study(Section):
    """A whole study file."""

    name: Name
    data: Data
    space: AnySpace
    compression: Compression = Compression()
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)] = (
        "accuracy",
        "parameters",
        "latency_ms",
        "size_bytes",
    )
    constraints: dict[Cost, Constraint] = {}
    search: Search = Search()
    training: Training = Training()
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = (Target(name="cpu"),)
    artifacts: Artifacts = Artifacts()
    report: ReportOptions = ReportOptions()

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(objectives)) != len(objectives):
            raise ValueError(f"every objective once, got {list(objectives)}")
        return objectives

    @field_validator("targets")
    @classmethod
    def _target_names(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        names = [target.name for target in targets]
        if len(set(names)) != len(names):
            raise ValueError(f"every target name once, got {names}")
        return targets

    @model_validator(mode="after")
    def _reference_of_objectives(self) -> Study:
        reference = self.report.hypervolume_reference
        if reference and set(reference) != set(self.objectives):
            wanted, came = ", ".join(self.objectives), ", ".join(reference)
            raise ValueError(f"report.hypervolume_reference: expected a value for each of {wanted}, got {came}")
        if any(value <= 0 for name, value in reference.items() if name != "accuracy"):
            raise ValueError(f"report.hypervolume_reference: expected costs above 0, got {reference}")
        return self

    @property
    def target(self) -> Target:
        return self.targets[0]

    @property
    def search_epochs(self) -> int:
        return self.search.epochs or self.training.epochs


assert {*QUALITIES, *COSTS} == set(OBJECTIVES)
