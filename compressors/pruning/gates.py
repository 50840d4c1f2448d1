"""Gates on channels: factors on what the readers of a group are fed, at which 0 is the channel's exact removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from compressors.pruning.importances import Group


def readers(group: Group) -> list[str]:
    """Paths of the layers that read the group's channels. Raises ValueError where none does."""
    found = [path for path, axis in group.members if axis == 1]
    if not found:
        raise ValueError(f"group {group.name}: expected a layer that reads its channels, got none")
    return found


@contextmanager
def gated(network: nn.Module, groups: Sequence[Group], gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the context what each group's readers are fed is multiplied by its gates, (C,) or (N, C)."""
    with ExitStack() as hooks:
        for group in groups:
            for path in readers(group):
                hook = _multiply(gates[group.name])
                handle = network.get_submodule(path).register_forward_pre_hook(hook)
                hooks.callback(handle.remove)
        yield


@contextmanager
def watched(network: nn.Module, group: Group, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside the context `see` is told what each of the group's readers is fed, (N, C, ...)."""
    with ExitStack() as hooks:
        for path in readers(group):

            def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
                see(inputs[0])

            hooks.callback(network.get_submodule(path).register_forward_pre_hook(hook).remove)
        yield


def _multiply(gates: Tensor) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        own = gates if gates.dim() == 2 else gates[None]
        return (x * own.reshape(*own.shape, *[1] * (x.dim() - 2)), *inputs[1:])

    return hook
