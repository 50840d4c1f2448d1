"""What a compression is asked for, as its options say it: a plan for all layers, for single ones, limits. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

from compressors.formats import FORMATS, WeightFormat
from compressors.low_rank.factoring import Factoring, MethodName
from nas.errors import InputError
from nas.first_study.choices import Settings
from nas.records import COSTS
from nas.study.compression import Importance

T = TypeVar("T")
LARGEST_RATIO = 0.875  # of channels that go, as a study has it
KNOWN_BEFORE = tuple(name for name in COSTS if name not in ("nonzero_parameters", "coded_bytes"))
# Keys of a study that a plan decides -> the options that say them beside a plan that is found.
PLANNED = {
    "compression.pruning_ratio": "--ratio", "compression.weight_format": "--format", "compression.low_rank": "--rank"
}  # fmt: skip
WHOLE = "none"  # of --rank: the layer is not factored


@dataclass(frozen=True)
class Asked(Generic[T]):
    """What one option says: choices for all layers (one of them: that it is), and a decision for single layers."""

    choices: tuple[T, ...] = ()
    layers: Mapping[str, T] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.choices or self.layers)


@dataclass(frozen=True)
class Wishes:
    """What is to be made of one network.

    space, data: those sections of the study. sections: others of a study that the user has. ratio: shares of channels
    that go. rank: how layers are factored. epochs: of the training behind compression. limits: the most that costs may
    be. trials: of a search for the plan; None: no search. overrides: KEY=VALUE of the study.
    """

    space: Settings
    data: Settings
    sections: Settings = field(default_factory=dict)
    ratio: Asked[float] = Asked()
    format: Asked[WeightFormat] = Asked()
    rank: Asked[Factoring | None] = Asked()
    importance: str | None = None
    epochs: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    trials: int | None = None
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        several: Mapping[str, Asked[Any]] = {"--ratio": self.ratio, "--format": self.format, "--rank": self.rank}
        for option, asked in several.items():
            if self.trials is None and len(asked.choices) > 1:
                raise InputError(f"{option}: expected one value without --trials, got {len(asked.choices)} choices")
            if self.trials is not None and asked.layers:
                raise InputError(f"{option}: expected choices for all layers with --trials, got {_first(asked.layers)}")

        for override in self.overrides if self.finds_a_plan else ():
            if (key := override.partition("=")[0].strip()) in PLANNED:
                wanted = f"say it with {PLANNED[key]}, or leave it"
                raise InputError(f"--max: finds a plan, which {key} is a part of; {wanted}")

        known = get_args(Importance)
        if self.importance is not None and self.importance not in known:
            raise InputError(f"--importance: expected one of {', '.join(known)}, got {self.importance!r}")

    @property
    def finds_a_plan(self) -> bool:
        """Whether the ratio is to be found, so that limits are kept: they are given, and it is not for all layers."""
        return bool(self.limits) and self.trials is None and not self.ratio.choices


def _first(layers: Mapping[str, Any]) -> str:
    return f"a value for {next(iter(layers))} alone"


def read_ratio(texts: Sequence[str]) -> Asked[float]:
    """`0.5`, choices `0,0.25,0.5`, and `LAYER=0.5`."""
    return _read("--ratio", texts, _ratio)


def read_format(texts: Sequence[str]) -> Asked[WeightFormat]:
    """`int8`, choices `fp32,int8`, and `LAYER=fp32`."""
    return _read("--format", texts, _format)


def read_rank(texts: Sequence[str]) -> Asked[Factoring | None]:
    """`16`, `0.5`, `energy:0.9`, `vbmf` or `none`, behind `tucker:` or another method; choices, and `LAYER=16`."""
    return _read("--rank", texts, _rank)


def read_limits(texts: Sequence[str]) -> dict[str, float]:
    """`size_bytes=200000`: the most that costs may be."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        number = _number(value)
        if not equals or name not in KNOWN_BEFORE or number is None or not 0 < number < math.inf:
            wanted = f"COST=NUMBER above 0, of {', '.join(KNOWN_BEFORE)}"
            raise InputError(f"--max: expected {wanted}, got {text!r}")
        if name in found:
            raise InputError(f"--max: expected one limit of {name}, got several")
        found[name] = number
    return found


def _read(option: str, texts: Sequence[str], read: Callable[[str, str], T]) -> Asked[T]:
    choices, layers = list[T](), dict[str, T]()
    for text in texts:
        layer, equals, value = text.rpartition("=")
        if not equals:
            choices += [read(option, one.strip()) for one in text.split(",")]
        elif layer in layers:
            raise InputError(f"{option}: expected one value of {layer}, got several")
        else:
            layers[layer] = read(option, value)
    if len(choices) > len({str(choice) for choice in choices}):
        raise InputError(f"{option}: expected every choice once, got {', '.join(texts)}")
    return Asked(tuple(choices), layers)


def _ratio(option: str, text: str) -> float:
    number = _number(text)
    if number is None or not 0 <= number <= LARGEST_RATIO:
        raise InputError(f"{option}: expected the share of channels that go, 0 to {LARGEST_RATIO}, got {text!r}")
    return number


def _format(option: str, text: str) -> WeightFormat:
    known: dict[str, WeightFormat] = {name: name for name in get_args(WeightFormat) if name in FORMATS}
    if text not in known:
        raise InputError(f"{option}: expected one of {', '.join(known)}, got {text!r}")
    return known[text]


def _rank(option: str, text: str) -> Factoring | None:
    if text == WHOLE:
        return None
    method, rest = _method(text)
    kind, colon, value = rest.rpartition(":")
    number = _number(value)
    settings: dict[str, Any] = {"method": method}
    if rest == "vbmf":
        settings["vbmf"] = True
    elif colon and kind == "energy":
        settings["energy"] = number
    elif not colon and number is not None:
        settings["ratio" if 0 < number < 1 else "rank"] = int(number) if number.is_integer() else number
    try:
        return Factoring.model_validate(settings)
    except ValueError:
        wanted = "a rank, a share of parameters that go (0 to 1), energy:SHARE that stays, vbmf or none"
        methods = ", ".join(f"{name}:" for name in get_args(MethodName))
        raise InputError(f"{option}: expected {wanted}, behind one of {methods} or nothing, got {text!r}") from None


def _method(text: str) -> tuple[str, str]:
    """The method that a rank begins with, `svd` where none is named, and the rest."""
    method, colon, rest = text.partition(":")
    return (method, rest) if colon and method in get_args(MethodName) else ("svd", text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
