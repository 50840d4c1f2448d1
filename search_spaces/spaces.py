"""Spaces: which architectures may be drawn. `sample(trial)` is pure; a gene that has no effect is never asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from search_spaces.architecture import (
    Activation,
    Architecture,
    HeadConfig,
    InvertedResidualConfig,
    Positive,
    Record,
    StageConfig,
    StemConfig,
)

Gene = bool | int | float | str


class Trial(Protocol):
    """What `sample` needs; optuna.Trial and a dictionary replayer satisfy it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...


class Replay:
    """A trial that answers from recorded genes and refuses a value outside the choices."""

    def __init__(self, genes: Mapping[str, Any]) -> None:
        self._genes = genes

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._genes[name]
        if value not in choices:
            raise ValueError(f"gene {name}: expected one of {list(choices)}, got {value!r}")
        return value

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._genes[name]
        if not low <= value <= high:
            raise ValueError(f"gene {name}: expected {low}..{high}, got {value!r}")
        return int(value)


class Pick:
    """A trial that answers every question by one rule, `pick(choices)`: min, max, a random choice ..."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        self._pick = pick

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._pick(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._pick(range(low, high + 1)))


def first(choices: Sequence[Any]) -> Any:
    return choices[0]


def middle(choices: Sequence[Any]) -> Any:
    return choices[(len(choices) - 1) // 2]


def last(choices: Sequence[Any]) -> Any:
    return choices[-1]


Choices = Annotated[tuple[Positive, ...], Field(min_length=1)]


class StageSpace(Record):
    """One stage's freedom: how deep, how wide; the stride is fixed."""

    depths: Choices
    widths: Choices
    stride: Literal[1, 2] = 1


class MobileSpace(Record):
    """Networks of inverted residual blocks. A preset fills what is not given.

    Choices are kept in ascending order, so the first of each gives the smallest network and the last the largest.
    """

    family: Literal["mobile"] = "mobile"
    preset: Literal["8px", "32px", "96px", "224px"] | None = None
    input_size: Annotated[int, Field(ge=8, le=224)]
    width_grid: Literal[8, 16] = 8
    stem_widths: Choices
    stem_stride: Literal[1, 2] = 1
    stages: Annotated[tuple[StageSpace, ...], Field(min_length=1)]
    kernels: Annotated[tuple[Literal[3, 5, 7], ...], Field(min_length=1)] = (3, 5, 7)
    expansions: Annotated[tuple[Literal[1, 2, 3, 4, 6], ...], Field(min_length=1)] = (1, 2, 3, 4, 6)
    squeeze_excite: Annotated[tuple[bool, ...], Field(min_length=1)] = (False, True)
    activations: Annotated[tuple[Activation, ...], Field(min_length=1)] = ("relu", "relu6", "hardswish")
    head_widths: Choices

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given

    @model_validator(mode="after")
    def _check(self) -> MobileSpace:
        for name, values in self._choice_lists():
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: every choice once, got {list(values)}")
            if name.endswith("widths") and any(value % self.width_grid for value in values):
                raise ValueError(f"{name}: expected multiples of width_grid {self.width_grid}, got {list(values)}")
            if all(isinstance(v, int) for v in values) and list(values) != sorted(values):
                raise ValueError(f"{name}: expected ascending order, got {list(values)}")
        if self.input_size < self.stride:
            raise ValueError(f"input_size: expected at least the total stride {self.stride}, got {self.input_size}")
        return self

    def _choice_lists(self) -> list[tuple[str, Sequence[Gene]]]:
        stages = enumerate(self.stages)
        return [
            ("stem_widths", self.stem_widths),
            ("head_widths", self.head_widths),
            ("kernels", self.kernels),
            ("expansions", self.expansions),
            ("squeeze_excite", self.squeeze_excite),
            ("activations", self.activations),
            *((f"stages[{i}].{key}", getattr(s, key)) for i, s in stages for key in ("depths", "widths")),
        ]

    @property
    def stride(self) -> int:
        return self.stem_stride * math.prod(stage.stride for stage in self.stages)

    def sample(self, trial: Trial, *, input_channels: Literal[1, 3]) -> Architecture:
        """Draw one architecture. Stages and blocks are numbered from 1 in gene names."""
        stem = StemConfig(width=trial.suggest_categorical("stem.width", self.stem_widths), stride=self.stem_stride)
        stages = tuple(self._stage(trial, f"stage{s}", stage) for s, stage in enumerate(self.stages, start=1))
        head = HeadConfig(width=trial.suggest_categorical("head.width", self.head_widths))
        return Architecture(
            input_size=self.input_size, input_channels=input_channels, stem=stem, stages=stages, head=head
        )

    def _stage(self, trial: Trial, name: str, space: StageSpace) -> StageConfig:
        depth = trial.suggest_categorical(f"{name}.depth", space.depths)
        width = trial.suggest_categorical(f"{name}.width", space.widths)
        blocks = tuple(self._block(trial, f"{name}.block{b}") for b in range(1, depth + 1))
        return StageConfig(width=width, stride=space.stride, blocks=blocks)

    def _block(self, trial: Trial, name: str) -> InvertedResidualConfig:
        return InvertedResidualConfig(
            kernel=trial.suggest_categorical(f"{name}.kernel", self.kernels),
            expansion=trial.suggest_categorical(f"{name}.expansion", self.expansions),
            squeeze_excite=trial.suggest_categorical(f"{name}.squeeze_excite", self.squeeze_excite),
            activation=trial.suggest_categorical(f"{name}.activation", self.activations),
        )

    def block_choices(self) -> list[InvertedResidualConfig]:
        """Every configuration a single block may take."""
        return [
            InvertedResidualConfig(kernel=k, expansion=e, squeeze_excite=s, activation=a)
            for k in self.kernels
            for e in self.expansions
            for s in self.squeeze_excite
            for a in self.activations
        ]

    def count(self, ways: Callable[[int], int] | None = None) -> int:
        """Number of architectures; `ways(depth)` counts the choices for the blocks of one stage of that depth."""
        blocks = len(self.block_choices())
        total = len(self.stem_widths) * len(self.head_widths)
        for stage in self.stages:
            total *= len(stage.widths) * sum(ways(d) if ways else blocks**d for d in stage.depths)
        return total


def _stages(*rows: tuple[tuple[int, ...], tuple[int, ...], int]) -> tuple[dict[str, Any], ...]:
    return tuple({"depths": depths, "widths": widths, "stride": stride} for depths, widths, stride in rows)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "8px": {
        "input_size": 8,
        "stem_widths": (8, 16),
        "kernels": (3, 5),
        "stages": _stages(((1, 2), (8, 16, 24), 1), ((1, 2), (16, 24, 32), 2), ((1, 2), (24, 32, 48), 2)),
        "head_widths": (32, 64, 96),
    },
    "32px": {
        "input_size": 32,
        "stem_widths": (16, 24, 32),
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32, 48), 2),
            ((1, 2, 3, 4), (48, 64, 96), 2),
            ((1, 2, 3), (96, 128, 160), 2),
        ),
        "head_widths": (128, 192, 256),
    },
    "96px": {
        "input_size": 96,
        "stem_widths": (16, 24, 32),
        "stem_stride": 2,
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32), 2),
            ((1, 2, 3), (32, 48), 2),
            ((1, 2, 3, 4), (64, 80, 96), 2),
            ((1, 2, 3), (96, 128, 160), 2),
        ),
        "head_widths": (256, 384, 512),
    },
    "224px": {
        "input_size": 224,
        "stem_widths": (16, 24, 32),
        "stem_stride": 2,
        "stages": _stages(
            ((1, 2), (16, 24), 1),
            ((1, 2, 3), (24, 32), 2),
            ((2, 3, 4), (32, 40, 48), 2),
            ((2, 3, 4), (64, 80), 2),
            ((1, 2, 3), (96, 112), 1),
            ((1, 2, 3), (160, 192), 2),
        ),
        "head_widths": (640, 960, 1280),
    },
}
