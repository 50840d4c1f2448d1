"""What a call searches in: a preset, a network by name, a module, or the keys of the section `space`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.errors import InputError
from nas.first_study.pictures import ENOUGH, SIZES
from nas.first_study.spaces import LEAST_SIZE
from nas.from_python.modules import GivenModule, given_module, is_module
from nas.study import Study

if TYPE_CHECKING:
    from torch import nn

PRESET = re.compile(r"\d+px")


@dataclass(frozen=True)
class GivenSpace:
    """The section `space`, and the module that its base stands for, if it is one."""

    keys: Mapping[str, Any]
    module: GivenModule | None = None

    def remember(self, study: Study) -> None:
        """Make the module known to what evaluates the study here. Raises InputError where it cannot be so used."""
        if self.module is not None:
            self.module.remember(study)


def given_space(given: str | Mapping[str, Any] | nn.Module | None, side: float | None) -> GivenSpace:
    """As given; by default the preset for images of a side, None where that is not known.

    A network that exists has images of their own side, where nothing else is said. Raises InputError, which begins with
    the argument, for what is none of these.
    """
    if given is None:
        return GivenSpace({"preset": f"{preset_for(side)}px"})
    if isinstance(given, str):
        return GivenSpace({"preset": given}) if PRESET.fullmatch(given) else given_space({"base": given}, side)
    if is_module(given):
        return given_space({"base": given}, side)
    if not isinstance(given, Mapping):
        wanted = "a preset, torchvision.NAME, package.module:function, a torch module, or keys of the section space"
        raise InputError(f"space: expected {wanted}, got {type(given).__name__}")
    keys = dict(given)
    if "base" in keys:
        keys.setdefault("input_size", size_for(side))
    if is_module(keys.get("base")):
        module = given_module(keys["base"])
        return GivenSpace(module.space(keys), module)
    return GivenSpace(keys)


def preset_for(side: float | None) -> int:
    """The smallest preset that holds most of what images of this side show, 32 pixels where it is not known."""
    return 32 if side is None else next((size for size in SIZES if size >= ENOUGH * side), SIZES[-1])


def size_for(side: float | None) -> int:
    """The images of a network that exists: as they are, within what most of them can do with."""
    return LEAST_SIZE if side is None else int(min(max(round(side), LEAST_SIZE), SIZES[-1]))
