"""The study file as validated records: what a user may write, and what each key means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from compressors.plan import WeightFormat
from nas.records import COSTS, OBJECTIVES
from search_spaces.spaces import MobileSpace

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Base of every section: frozen, strict in its types, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Where the labelled images come from and how they are split.

    digits: scikit-learn's 8x8 scans. image_folder: `path` holds train/ and, if there are any, val/ and test/, each
    with one folder per class.
    `validation` and `test` are fractions cut, stratified, from train where that split is missing.
    """

    source: Literal["digits", "image_folder"]
    path: str | None = None
    validation: Share = 0.1
    test: Share = 0.1
    channels: Literal[1, 3] | None = None
    flip: bool | None = None
    crop_padding: Annotated[int, Field(ge=0)] | None = None
    train_images: AtLeastOne | None = None

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.source == "image_folder" and not self.path:
            raise ValueError("path: expected a folder for source image_folder, got nothing")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test: expected less than 1, got {self.validation + self.test}")
        return self

    @property
    def input_channels(self) -> Literal[1, 3]:
        return self.channels or (1 if self.source == "digits" else 3)


class Compression(Section):
    """The freedom of pruning and quantization; `granularity` says what shares one gene."""

    pruning_ratio: Annotated[tuple[Annotated[float, Field(ge=0, le=0.875)], ...], Field(min_length=1)] = (0.0,)
    weight_format: Annotated[tuple[WeightFormat, ...], Field(min_length=1)] = ("fp32",)
    granularity: Literal["network", "stage", "block", "layer"] = "block"
    importance: Literal["l1", "l2", "bn_scale"] = "l2"
    edges_below_int8: bool = False

    @field_validator("pruning_ratio", "weight_format")
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


class Training(Section):
    """One candidate's training: dense, then pruned, then quantization-aware; `shares` split the epochs among them."""

    epochs: AtLeastOne = 20
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["cosine", "one_cycle"] = "one_cycle"
    label_smoothing: Share = 0.0
    shares: tuple[Share, Share, Share] = (0.5, 0.2, 0.3)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(shares) - 1) > 1e-6 or shares[0] == 0:
            raise ValueError(f"expected shares that sum to 1, the first above 0, got {list(shares)}")
        return shares

    @property
    def peak_learning_rate(self) -> float:
        return self.learning_rate or {"sgd": 0.1, "adamw": 3e-3}[self.optimizer]


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
Objective = Literal["accuracy", "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"]


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
    space: MobileSpace
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


assert set(COSTS) | {"accuracy"} == set(OBJECTIVES)
