"""A whole study file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from compressors.steps import DYNAMIC_FORMATS
from nas.records import QUALITIES, Phase
from nas.registry import TRACKERS
from nas.study.at_targets import renamed, short_names, unknown_target
from nas.study.compression import Compression
from nas.study.data import Data
from nas.study.finals import Finals, image_limit
from nas.study.objectives import Constraints, ObjectiveName
from nas.study.outputs import Artifacts, ReportOptions
from nas.study.search import AUTO_RUNGS, Search, rung_epochs
from nas.study.section import Name, Section, each_once
from nas.study.targets import Target
from nas.study.training import FROM_WEIGHTS, Training
from search_spaces.flows import FLOWS, has_flow
from search_spaces.kinds import kind_of
from search_spaces.spaces import AnySpace


class Study(Section):
    """A study of compact-nas: what is searched, for which objectives, and how. Each section describes itself."""

    name: Name = Field(description="Name of the run folder, runs/<name>, unless --out gives another.")
    data: Data
    space: AnySpace = Field(description="Which architectures may be drawn.")
    compression: Compression = Compression()
    objectives: Annotated[tuple[ObjectiveName, ...], Field(min_length=1)] = Field(
        ("accuracy", "parameters", "latency_ms", "size_bytes"),
        description="What is traded off. Qualities, on the validation split, are maximised; costs are minimised. "
        "`latency_ms@NAME` and `size_bytes@NAME` are those of another target than the first.",
    )
    constraints: Constraints = Constraints()
    search: Search = Search()
    training: Training = Training()
    finals: Finals = Finals()
    baseline: bool = Field(
        True,
        description="Train a plain three-layer CNN beside the finalists, for as many epochs; of a network that exists "
        "already that network, uncompressed. Table, picture and report show it as float32 and as ONNX Runtime "
        "quantizes it. A search that does not beat it says so.",
    )
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = Field(
        (Target(name="cpu"),),
        description="Where latency is measured. `latency_ms` is that of the first, `latency_ms@NAME` that of another; "
        "so is `size_bytes` where the other's runtime opens a file of its own. A candidate that a target does not run "
        "is INFEASIBLE where an objective or a constraint is about that target.",
    )
    artifacts: Artifacts = Artifacts()
    tracking: tuple[Annotated[str, AfterValidator(TRACKERS.known), TRACKERS.schema], ...] = Field(
        (),
        description="Trackers that follow the run; by default none. tensorboard writes event files into the run "
        "folder, mlflow tells the server that MLFLOW_TRACKING_URI names, in the experiment MLFLOW_EXPERIMENT_NAME. One "
        "that fails never stops a search.",
    )
    report: ReportOptions = ReportOptions()

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        each_once("objective", objectives)
        return objectives

    @field_validator("tracking")
    @classmethod
    def _each_tracker_once(cls, tracking: tuple[str, ...]) -> tuple[str, ...]:
        each_once("tracker", tracking)
        return tracking

    @field_validator("targets")
    @classmethod
    def _target_names(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        each_once("target name", [target.name for target in targets])
        return targets

    @model_validator(mode="after")
    def _by_short_names(self) -> Study:
        """`latency_ms@cpu` is `latency_ms` where cpu is the first target, and is written so.

        Not before: what is read off JSON would no longer be seen as such.
        """
        short = short_names(self.targets)
        objectives = tuple(short.get(name, name) for name in self.objectives)
        if len(set(objectives)) < len(objectives):
            raise ValueError(f"objectives: every objective once, got {list(objectives)}")
        limits = renamed(dict(self.constraints), short, "constraints")
        reference = renamed(self.report.hypervolume_reference, short, "report.hypervolume_reference")
        found = {
            "objectives": objectives,
            "constraints": Constraints.model_validate(limits),
            "report": self.report.model_copy(update={"hypervolume_reference": reference}),
        }
        for key, value in found.items():
            if value != getattr(self, key):
                object.__setattr__(self, key, value)  # frozen for everybody else
        return self

    @model_validator(mode="after")
    def _targets_are_there(self) -> Study:
        named = {f"objectives[{place}]": name for place, name in enumerate(self.objectives)}
        for key, name in [*named.items(), *((f"constraints.{name}", name) for name in self.limits)]:
            if problem := unknown_target(name, self.targets):
                raise ValueError(f"{key}: {problem}")
        return self

    @model_validator(mode="after")
    def _reference_of_objectives(self) -> Study:
        reference = self.report.hypervolume_reference
        if reference and set(reference) != set(self.objectives):
            wanted, came = ", ".join(self.objectives), ", ".join(reference)
            raise ValueError(f"report.hypervolume_reference: expected a value for each of {wanted}, got {came}")
        if any(value <= 0 for name, value in reference.items() if name not in QUALITIES):
            raise ValueError(f"report.hypervolume_reference: expected costs above 0, got {reference}")
        if any(not 0 <= value < 1 for name, value in reference.items() if name in QUALITIES):
            raise ValueError(f"report.hypervolume_reference: expected qualities of 0 to below 1, got {reference}")
        return self

    @model_validator(mode="after")
    def _something_can_be_removed(self) -> Study:
        kinds = list(self.space.block_spaces())
        if any(self.compression.remove_blocks) and not any(kind_of(kind).adds_input for kind in kinds):
            came = f"blocks without a skip alone: {', '.join(kinds)}" if kinds else self.space.words
            raise ValueError(f"compression.remove_blocks: expected a space with blocks that have a skip, got {came}")
        if any(self.compression.remove_activations) and not any(map(has_flow, kinds)):
            came = f"others alone: {', '.join(kinds)}" if kinds else self.space.words
            raise ValueError(f"compression.remove_activations: expected blocks of {', '.join(FLOWS)}, got {came}")
        return self

    @model_validator(mode="after")
    def _what_is_trained_needs_less(self) -> Study:
        """A network that begins with weights has little to learn in the dense stage; what is cut and rounded has more.

        Not where the shares are given, as in a run's own study.
        """
        if self.space.has_weights and "shares" not in self.training.model_fields_set:
            training = self.training.model_copy(update={"shares": dict(FROM_WEIGHTS)})
            object.__setattr__(self, "training", training)  # frozen for everybody else
        return self

    @model_validator(mode="after")
    def _finalists_train_longest(self) -> Study:
        if self.search_epochs > self.training.epochs:
            most = f"at most training.epochs, which is {self.training.epochs}"
            raise ValueError(f"search.epochs: expected {most}, got {self.search.epochs}")
        if self.final_epochs < self.search_epochs:
            least = f"at least the {self.search_epochs} epochs of a search trial"
            raise ValueError(f"finals.epochs: expected {least}, got {self.finals.epochs}")
        return self

    @model_validator(mode="after")
    def _small_images_fit_the_space(self) -> Study:
        size, least, most = self.search.input_size, self.space.stride, max(self.space.input_sizes)
        if size is not None and not least <= size <= most:
            wanted = f"{least}, the space's total stride, to {most}, its largest input_size"
            raise ValueError(f"search.input_size: expected {wanted}, got {size}")
        return self

    @model_validator(mode="after")
    def _formats_fit_quantization(self) -> Study:
        others = [name for name in self.compression.weight_format if name not in DYNAMIC_FORMATS]
        if "dynamic" in self.training.quantizations and others:
            wanted = f"{' and '.join(DYNAMIC_FORMATS)} alone with training.quantization dynamic"
            raise ValueError(f"compression.weight_format: expected {wanted}, got {', '.join(others)}")
        return self

    @model_validator(mode="after")
    def _activations_fit_quantization(self) -> Study:
        if self.compression.activation_bits != 8 and "dynamic" in self.training.quantizations:
            bits = self.compression.activation_bits
            raise ValueError(f"compression.activation_bits: expected 8 with training.quantization dynamic, got {bits}")
        return self

    @model_validator(mode="after")
    def _finals_fit_training(self) -> Study:
        self.finals.over(self.training)
        return self

    @model_validator(mode="after")
    def _something_is_equalized(self) -> Study:
        activations = {name for kind in self.space.block_spaces().values() for name in getattr(kind, "activations", ())}
        for section, recipe in self._recipes.items():
            if recipe.equalization and activations and "relu" not in activations:
                came = ", ".join(sorted(activations))
                raise ValueError(f"{section}.equalization: expected relu among the blocks' activations, got {came}")
        return self

    @model_validator(mode="after")
    def _moments_are_kept(self) -> Study:
        for section, recipe in self._recipes.items():
            if self.compression.importance == "momentum" and not recipe.keeps_moments:
                raise ValueError(
                    "compression.importance: momentum ranks by the optimizer's first moments, expected "
                    f"{section}.momentum above 0 with sgd and rmsprop, got 0"
                )
        return self

    @model_validator(mode="after")
    def _rungs_lie_apart(self) -> Study:
        epochs = [0, *(rung_epochs(share, self.search_epochs) for share in self.rungs), self.search_epochs]
        if self.rungs and any(low >= high for low, high in pairwise(epochs)):
            wanted = f"shares that fall on different epochs before the last of {self.search_epochs}"
            raise ValueError(f"search.rungs: expected {wanted}, got {list(self.rungs)}")
        if self.search.brackets > len(self.rungs) + 1:
            most = f"at most {len(self.rungs) + 1}, one more than there are rungs"
            raise ValueError(f"search.brackets: expected {most}, got {self.search.brackets}")
        return self

    @property
    def target(self) -> Target:
        return self.targets[0]

    @property
    def limits(self) -> dict[str, float]:
        """The largest value of every constrained cost and the smallest of every constrained quality."""
        return self.constraints.limits

    @property
    def cost_limits(self) -> dict[str, float]:
        """Those of costs: what can be known before a candidate is trained."""
        return {name: limit for name, limit in self.limits.items() if name not in QUALITIES}

    @property
    def latencies(self) -> dict[str, Target]:
        """Latencies that an objective or constraint is about, by name, with their targets."""
        targets = {target.name: target for target in self.targets}
        parts = {name: name.partition("@") for name in (*self.objectives, *self.limits)}
        return {
            name: targets[target] if at else self.target
            for name, (cost, at, target) in parts.items()
            if cost == "latency_ms"
        }

    @property
    def needed_latencies(self) -> tuple[str, ...]:
        """Those of `latencies` on targets after the first, which may refuse a file."""
        return tuple(name for name in self.latencies if "@" in name)

    def limits_in(self, phase: Phase) -> dict[str, float]:
        """What binds an evaluation of this phase: trials that are trained shorter than finalists answer for costs."""
        return self.limits if phase != "search" or self.trials_train_fully else self.cost_limits

    @property
    def trials_train_fully(self) -> bool:
        """Whether a search trial sees what a finalist does: no fewer epochs or images, and none that are smaller."""
        return self.search_epochs >= self.final_epochs and self.trials_see_as_much

    @property
    def trials_see_as_much(self) -> bool:
        """Whether an epoch of a search trial has no fewer images than a finalist's, and none that are smaller."""
        images, final = (math.inf if limit is None else limit for limit in (self.search_images, self.final_images))
        return images >= final and self.search.input_size is None

    @property
    def search_epochs(self) -> int:
        return self.search.epochs or self.training.epochs

    @property
    def search_images(self) -> int | None:
        """How many training images search trials have; None for all."""
        return image_limit(self.search.train_images, self.data.train_images)

    @property
    def final_epochs(self) -> int:
        return self.finals.epochs or self.training.epochs

    @property
    def final_images(self) -> int | None:
        """How many training images finalists have; None for all."""
        return self.finals.images(self.data.train_images)

    @property
    def final_recipe(self) -> Training:
        """How finalists are trained."""
        return self.finals.over(self.training)

    @property
    def _recipes(self) -> dict[str, Training]:
        """How trials and finalists are trained, by the section that says so."""
        return {"training": self.training, "finals": self.final_recipe}

    @property
    def search_changes(self) -> dict[str, Any]:
        """How the training of search trials differs from what all others begin with, in keys of `finals`."""
        return {} if self.search.train_images is None else {"train_images": self.search.train_images}

    def training_by(self, changes: Mapping[str, Any]) -> Training:
        """The settings of a training that differs by `changes` from `training`, in keys of `finals`."""
        return Finals.of(changes).over(self.training) if changes else self.training

    def images_by(self, changes: Mapping[str, Any]) -> int | None:
        """How many training images such a training has; None for all."""
        return Finals.of(changes).images(self.data.train_images)

    def data_of(self, train_images: int | None) -> Data:
        """The data with so many training images, None for all; the other parts of the split are the same."""
        return self.data.model_copy(update={"train_images": train_images})

    @property
    def rungs(self) -> tuple[float, ...]:
        """The shares of a search trial's epochs at which it is compared; `auto` leaves out what falls together."""
        if self.search.rungs != "auto":
            return self.search.rungs
        at = {rung_epochs(share, self.search_epochs): share for share in AUTO_RUNGS}
        return tuple(sorted(share for epochs, share in at.items() if epochs < self.search_epochs))

    def limit_minutes(self, epochs: int) -> float | None:
        """Wall time of an attempt at an evaluation of so many epochs: `trial_minutes` is a search trial's."""
        minutes = self.search.trial_minutes
        return None if minutes is None else minutes * epochs / self.search_epochs
