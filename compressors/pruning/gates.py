"""Gates on channels: factors on what the readers of a group are fed, at which 0 is the channel's exact removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from compressors.pruning.places import Group, Place, readers


@contextmanager
def gated(network: nn.Module, groups: Sequence[Group], gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the context what each group's readers are fed is multiplied by its gates, (C,) or (N, C)."""
    with ExitStack() as hooks:
        for group in groups:
            for place in readers(network, group):
                hook = _multiply(gates[group.name], place)
                handle = network.get_submodule(place.path).register_forward_pre_hook(hook)
                hooks.callback(handle.remove)
        yield


@contextmanager
def watched(network: nn.Module, group: Group, see: Callable[[Place, Tensor], None]) -> Iterator[None]:
    """Inside the context `see` is told what each of the group's readers is fed, (N, channels or more, ...), and where
    in it the channels are.
    """
    with ExitStack() as hooks:
        for place in readers(network, group):

            def hook(_: nn.Module, inputs: tuple[Any, ...], place: Place = place) -> None:
                see(place, inputs[0])

            hooks.callback(network.get_submodule(place.path).register_forward_pre_hook(hook).remove)
        yield


def _multiply(gates: Tensor, place: Place) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        own = place.spread(gates if gates.dim() == 2 else gates[None], x.shape[1], 1.0)
        return (x * own.reshape(*own.shape, *[1] * (x.dim() - 2)), *inputs[1:])

    return hook
