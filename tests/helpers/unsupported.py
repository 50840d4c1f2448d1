"""Modules made into what no compressor supports: with hooks, with parametrized weights."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize


def hooked(module: nn.Module) -> nn.Module:
    """The module with a forward hook."""
    module.register_forward_hook(lambda *_: None)
    return module


def hooked_before(module: nn.Module) -> nn.Module:
    """The module with a hook before its forward."""
    module.register_forward_pre_hook(lambda *_: None)
    return module


def parametrized(module: nn.Module) -> nn.Module:
    """The module with a parametrized weight."""
    parametrize.register_parametrization(module, "weight", nn.Identity())
    return module
