"""Networks by name: torchvision's, and what a function of the user's own returns."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from search_spaces.existing.errors import Unreadable
from search_spaces.existing.space import TORCHVISION
from search_spaces.own_code import FAILURES, importable, named_code, told

SOME_CLASSES = 10  # for a function that must be told; the head is fitted to the data's classes anyway


def build_base(name: str, *, trusted: bool = False) -> nn.Module:
    """The network that `torchvision.NAME` or `package.module:function` names, as it comes.

    torchvision's are without data (on the meta device) where they can be, since their weights come from elsewhere or
    are drawn later. A function, or a class of modules, is called without arguments, but for `num_classes` where it
    must have that. Raises Unreadable.
    """
    if ":" in name and not name.startswith(TORCHVISION):
        function = named_code(name, trusted=trusted, purpose="code of your own, which builds the network")
        return _called(name, function)
    try:
        return _of_torchvision(torchvision_builder(name))
    except Unreadable as error:
        also = "" if name.startswith(TORCHVISION) else "; code of your own is package.module:function"
        raise Unreadable(f"{error}{also}") from None


def torchvision_builder(name: str, *, without: Collection[str] = ()) -> Callable[..., nn.Module]:
    """torchvision's function that builds the classifier `torchvision.NAME`. Raises Unreadable for any other name."""
    from torchvision import models

    short = name.removeprefix(TORCHVISION)
    known = [each for each in models.list_models(module=models) if each not in without]
    if short not in known or short == name:
        near = difflib.get_close_matches(short.lower(), known, n=1)
        hint = f"; did you mean {TORCHVISION}{near[0]}?" if near else ""
        raise Unreadable(f"expected torchvision. and the name of a classifier, got {name!r}{hint}")
    builder: Callable[..., nn.Module] = models.get_model_builder(short)
    return builder


def _of_torchvision(builder: Callable[..., nn.Module]) -> nn.Module:
    # Else these two warn that they will draw weights otherwise one day.
    keys = {"init_weights": True} if builder.__name__ in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            return builder(weights=None, **keys)
    except NotImplementedError:  # some draw weights in a way that needs data
        with torch.random.fork_rng(devices=[]):
            return builder(weights=None, **keys)


def _called(name: str, function: Any) -> nn.Module:
    if not callable(function):
        raise Unreadable(f"{name}: expected a function that returns a torch module, got {type(function).__name__}")
    needed = _needed(function)
    if strange := [each for each in needed if each != "num_classes"]:
        raise Unreadable(f"{name}: expected a function without arguments, got one that needs {', '.join(strange)}")
    try:
        with importable(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            built = function(**dict.fromkeys(needed, SOME_CLASSES))
    except FAILURES as error:
        raise Unreadable(f"{name}: could not be built: {told(error)}") from None
    if not isinstance(built, nn.Module):
        raise Unreadable(f"{name}: expected a torch module to be returned, got {type(built).__name__}")
    if any(value.is_meta for value in built.state_dict().values()):
        raise Unreadable(f"{name}: expected a network with weights, got one on the meta device")
    return built


def _needed(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments that a function cannot be called without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that is not written in Python
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in several]
