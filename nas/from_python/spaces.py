"""What a call searches in: a preset, a network by name, a module, or the keys of the section `space`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nas.compression.sizes import fitted_size
from nas.errors import InputError
from nas.first_study.pictures import ENOUGH, SIZES
from nas.from_python.modules import GivenModule, given_module, is_module
from nas.study import Study

if TYPE_CHECKING:
    from torch import nn

PRESET, USUAL_SIZE = re.compile(r"\d+px"), 32


@dataclass(frozen=True)
class GivenSpace:
    """The section `space`, and the module that its base stands for, if it is one."""

    keys: Mapping[str, Any]
    module: GivenModule | None = None

    def confirm(self, study: Study) -> None:
        """Raise InputError where the study's network is a module, and cannot be used as the study says."""
        if self.module is not None:
            self.module.confirm(study.space, study.data.input_channels)


def given_space(
    given: str | Mapping[str, Any] | nn.Module | None,
    side: float | None,
    *,
    channels: Literal[1, 3] = 3,
    argument: Literal["space", "network"] = "space",
) -> GivenSpace:
    """As given; by default the preset for images of a side, None where that is not known.

    A network that exists has images of their own side, or the next that it can take, where nothing else is said; of
    `channels`. Raises InputError, which begins with the argument, for what is none of these.
    """
    may_be_preset = argument == "space"
    if given is None and may_be_preset:
        return GivenSpace({"preset": f"{preset_for(side)}px"})
    if isinstance(given, str) and may_be_preset and PRESET.fullmatch(given):
        return GivenSpace({"preset": given})
    keys = dict(given) if isinstance(given, Mapping) else {"base": given}
    if not may_be_preset or "base" in keys:
        _refuse_other(keys.get("base"), argument)
    if "base" not in keys:
        return GivenSpace(keys)
    base = keys["base"]
    module = given_module(base, argument) if is_module(base) else None
    space = GivenSpace(keys if module is None else module.space(keys), module)
    return space if "input_size" in keys else _sized(space, side, channels)


def _refuse_other(base: object, argument: str) -> None:
    """Raise InputError for what names no network, and is none."""
    if not isinstance(base, str) and not is_module(base):
        preset = "a preset, " if argument == "space" else ""
        wanted = f"{preset}torchvision.NAME, package.module:function, a torch module, or a mapping with one as base"
        raise InputError(f"{argument}: expected {wanted}, got {type(base).__name__}")


def _sized(space: GivenSpace, side: float | None, channels: Literal[1, 3]) -> GivenSpace:
    """With the size of images that suits them and that the network can take, for which it is read."""
    suited = min(max(USUAL_SIZE if side is None else round(side), SIZES[0]), SIZES[-1])
    size = fitted_size(space.keys, suited, input_channels=channels)
    return GivenSpace({**space.keys, "input_size": size}, space.module)


def preset_for(side: float | None) -> int:
    """The smallest preset that holds most of what images of this side show, 32 pixels where it is not known."""
    return USUAL_SIZE if side is None else next((size for size in SIZES if size >= ENOUGH * side), SIZES[-1])
