"""Measurement, State, Evaluation: the one door through which numbers enter; NaN and infinity do not pass."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from compressors.plan import WeightFormat

UNSTABLE = "unstable"  # a flag: the latency is the least of passes that were disturbed or did not agree
SIMULATED = "simulated"  # a flag: the accuracy is that of a network of torch's, which no file computes
PARITY = "parity"  # a flag: the file does not compute what the network does
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(gt=0)]

Phase = Literal["search", "rung", "repeat", "final", "reference"]
COSTS = (
    "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms", "nonzero_parameters", "coded_bytes",
)  # fmt: skip
QUALITIES = ("accuracy", "balanced_accuracy", "macro_f1")  # fractions, the more the better
OBJECTIVES = (*QUALITIES, *COSTS)


def parity_at(target: str) -> str:
    """A flag: `target`, which is not the first, refuses its file or computes something else, and has no latency."""
    return f"{PARITY}@{target}"


def floats_at(target: str) -> str:
    """A flag: the device of `target` runs layers as floats that run as integers on this machine."""
    return f"floats@{target}"


class State(StrEnum):
    """How an evaluation stands. Only COMPLETE ones count as trials and enter fronts."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    INFEASIBLE = "INFEASIBLE"
    DUPLICATE = "DUPLICATE"
    FAILED = "FAILED"


class Record(BaseModel):
    """Base of the records here: frozen, finite, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Score(Record):
    """An accuracy with its standard error sqrt(p (1 - p) / n), n images, read off the runtime.

    `log_loss` is the mean negative log likelihood in nats; `confusion` counts images, rows true class, columns
    predicted, and is left out for more than 100 classes.
    """

    accuracy: Fraction
    se: Fraction
    images: Annotated[int, Field(ge=1)]
    balanced_accuracy: Fraction | None = None
    macro_f1: Fraction | None = None
    log_loss: Annotated[float, Field(ge=0)] | None = None
    confusion: tuple[tuple[Count, ...], ...] | None = None

    @property
    def qualities(self) -> dict[str, float]:
        """Those of QUALITIES that were computed, by name."""
        found = {name: getattr(self, name) for name in QUALITIES}
        return {name: value for name, value in found.items() if value is not None}


class Fingerprint(Record):
    """What a latency depends on besides the file; measurements of different fingerprints are never mixed."""

    device: str
    instruction_sets: tuple[str, ...]
    runtime: str
    provider: str
    threads: int
    batch: int

    def changes_to(self, other: Fingerprint) -> list[str]:
        """What is different in another one, a line each: `device: a -> b`."""
        before, now = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [f"{key}: {before[key]} -> {now[key]}" for key in now if before[key] != now[key]]


class Latency(Record):
    """One file's latency on one target. `passes_us` are the raw samples, one row per pass, in microseconds.

    `control_ms` is the control network's; earlier versions wrote it as `reference_ms`. `integer_layers` are those that
    run as integer kernels there, as an agent says; None where nobody asked.
    """

    latency_ms: Milliseconds
    stable: bool
    protocol: str
    control_ms: Milliseconds
    fingerprint: Fingerprint
    passes_us: tuple[tuple[float, ...], ...]
    integer_layers: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _known(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _earlier_name(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "reference_ms" in given:
            return {("control_ms" if key == "reference_ms" else key): value for key, value in given.items()}
        return given


class LayerReport(Record):
    """One layer as shipped: channels after pruning, format asked for, the kind of kernel that ran it, and the share of
    zeros among its weights in the file.
    """

    name: str
    block: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: int
    parameters: Count
    macs: Count
    format: WeightFormat
    ran: Literal["integer", "float"]
    unpruned_channels: int | None = None
    sparsity: Fraction | None = None
    kernel_width: int | None = None  # where it is not the kernel's height


class Parity(Record):
    """Agreement of the runtime with the torch network on the same images."""

    images: Annotated[int, Field(ge=1)]
    max_difference: float
    tolerance: float
    within_tolerance: Fraction
    argmax_agreement: Fraction
    clear_margin_disagreements: Count
    accuracy_difference: Fraction

    @property
    def holds(self) -> bool:
        same_answers = self._is_rare(1 - self.argmax_agreement)
        return self.within_tolerance >= 0.999 and same_answers and self.clear_margin_disagreements == 0

    @property
    def is_broken(self) -> bool:
        """Whether the accuracies differ by more than may happen at margins within the tolerance."""
        return not self._is_rare(self.accuracy_difference)

    def _is_rare(self, share: float) -> bool:
        """At most one in a hundred images, or a single one of fewer."""
        return round(share * self.images) <= max(1, self.images // 100)


class Verification(Record):
    """What was found out about a shipped file before anything was measured on it.

    asked_integer, ran_integer: layers with a format below fp32, and those that the first target runs as integers.
    other_parity: of targets after the first whose runtime or provider is another, by name, where it runs the file.
    """

    asked_integer: tuple[str, ...]
    ran_integer: tuple[str, ...]
    parity: Parity
    other_parity: Mapping[str, Parity] = {}
    layers: tuple[LayerReport, ...]
    flags: tuple[str, ...] = ()

    @property
    def doubtful_targets(self) -> tuple[str, ...]:
        """Targets after the first that do not compute what the network does, or refuse the file."""
        return tuple(flag.removeprefix(parity_at("")) for flag in self.flags if flag.startswith(parity_at("")))


class Scores(Record):
    """A file's scores; `test` is None where the test split was not read."""

    validation: Score
    train_accuracy: Fraction
    test: Score | None = None


class Versions(Record):
    """What an evaluation was made with. In JSON the `runtimes`' versions stand beside the others, by package.

    `engine`, `node` and `actor` say where, unless it was a process of the driver's machine.
    """

    compact_nas: str = ""
    torch: str = ""
    runtimes: Mapping[str, str] = {}
    python: str = ""
    system: str = ""
    training_device: str = ""
    training_threads: Count = 0
    engine: str = ""
    node: str = ""
    actor: str = ""

    @model_validator(mode="before")
    @classmethod
    def _gather_runtimes(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = {key: value for key, value in given.items() if key in cls.model_fields}
        others = {key: value for key, value in given.items() if key not in cls.model_fields}
        return {**own, "runtimes": {**own.get("runtimes", {}), **others}} if others else own

    @model_serializer(mode="wrap")
    def _beside_each_other(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = {key: value for key, value in handler(self).items() if value not in ("", 0)}
        runtimes: dict[str, Any] = fields.pop("runtimes")
        return {**fields, **runtimes}


class Measurement(Record):
    """Costs of one file. `origin` says whether its weights were trained; most costs do not depend on them.

    Of a candidate that does depend on them there is at first no file: a `bound` holds the least that parameters, MACs
    and bytes may come to, and no other cost. `nonzero_parameters` and `coded_bytes`, the size entropy-coded, are known
    of shipped files; None: not counted.

    `latency` is by target; one after the first is missing where its runtime does not run the file as it should.
    `other_size_bytes` is the size of the file that every target of another runtime than the first opens. `refused` is
    what the runtimes of targets without a latency said, by target.
    """

    origin: Literal["untrained file", "shipped file", "bound"]
    parameters: Count
    macs: Count
    size_bytes: Annotated[int, Field(ge=1)]
    peak_memory_bytes: Count
    latency: Mapping[str, Latency]
    other_size_bytes: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    refused: Mapping[str, str] = {}
    nonzero_parameters: Count | None = None
    coded_bytes: Count | None = None

    def cost(self, name: str, target: str) -> float:
        """One of COSTS by name; `latency_ms@TARGET` and `size_bytes@TARGET` are those of a target not the default.

        Raises KeyError for another name and for what was not measured.
        """
        base, _, other = name.partition("@")
        if other and other != target:
            return self.other_costs(target)[name]
        if base == "latency_ms":
            return self.latency[target].latency_ms
        if base not in COSTS:
            raise KeyError(f"unknown cost {name!r}, expected one of {COSTS}")
        if (found := getattr(self, base)) is None:
            raise KeyError(f"{name} was not measured")
        return float(found)

    def other_costs(self, default_target: str) -> dict[str, float]:
        """What was measured of the other targets: `latency_ms@NAME`, and `size_bytes@NAME` of another runtime's."""
        others = {name: latency for name, latency in self.latency.items() if name != default_target}
        return {
            **{f"latency_ms@{name}": latency.latency_ms for name, latency in others.items()},
            **{f"size_bytes@{name}": size for name, size in self.other_size_bytes.items()},
        }

    @property
    def is_stable(self) -> bool:
        """Whether every latency is one that two undisturbed passes agreed on."""
        return all(latency.stable for latency in self.latency.values())

    def costs(self, target: str) -> dict[str, float]:
        """Those of COSTS that are known, by name, and `other_costs` for `target` the default."""
        own = {name: self.cost(name, target) for name in COSTS if self._knows(name, target)}
        return own | self.other_costs(target)

    def _knows(self, name: str, target: str) -> bool:
        if name == "latency_ms":
            return target in self.latency
        return getattr(self, name) is not None and (name, self.origin) != ("peak_memory_bytes", "bound")


class Evaluation(Record):
    """One candidate evaluated once: the unit of record, written as `evaluation.json` beside the file it describes.

    `training` are its searched numbers, `recipe` what else differs from the study's `training`, in keys of `finals`.
    `resulted` is the plan that the network has, where it is not the candidate's: where that depended on weights.
    `model_sha256` is that of every file that was measured, by name; earlier versions did not record it.
    """

    schema_version: Literal[1] = 1
    candidate_id: str
    structure_id: str
    phase: Phase
    seed: int
    state: State
    reason: str = ""
    error: str = ""
    training: Mapping[str, int | float | str] = {}
    recipe: Mapping[str, JsonValue] = {}
    precision: Literal["fp32", "bf16"] = "fp32"
    epochs: Annotated[float, Field(ge=0)] = 0.0
    budget: Count = 0
    accuracy_source: Literal["trained", "inherited", "predicted", "simulated"] = "trained"
    target: str
    measurement: Measurement | None = None
    resulted: Mapping[str, JsonValue] = {}
    model_sha256: Mapping[str, str] = {}
    validation: Score | None = None
    test: Score | None = None
    train_accuracy: Fraction | None = None
    violations: Mapping[str, float] = {}
    parity: Parity | None = None
    other_parity: Mapping[str, Parity] = {}
    asked_integer: tuple[str, ...] = ()
    ran_integer: tuple[str, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    flags: tuple[str, ...] = ()
    seconds: Mapping[str, float] = {}
    attempts: int = 1
    started_at: str
    machine: Versions = Versions()

    @property
    def fidelity(self) -> float:
        return self.epochs / self.budget if self.budget else 0.0

    @property
    def known(self) -> dict[str, float]:
        """Costs and validation qualities by name, as far as they were measured."""
        costs = self.measurement.costs(self.target) if self.measurement is not None else {}
        return costs | (self.validation.qualities if self.validation is not None else {})


def score(correct: int, images: int) -> Score:
    """Accuracy of `correct` out of `images` with its binomial standard error."""
    accuracy = correct / images
    return Score(accuracy=accuracy, se=(accuracy * (1 - accuracy) / images) ** 0.5, images=images)
