"""Where in a network a layer's channels and weights are, when it may have been factored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from compressors.low_rank.modules import Factored
from compressors.plan import whole_of

if TYPE_CHECKING:  # pruning, where it is defined, reads this module
    from compressors.pruning.places import Group, Span

Decision = TypeVar("Decision")


def factor_paths(network: nn.Module, layer: str) -> tuple[str, ...]:
    """The layer's factors in order of execution; where it is whole, or none of the network's, the layer itself."""
    try:
        found = network.get_submodule(layer)
    except AttributeError:
        return (layer,)
    is_factored = isinstance(found, Factored) or type(found) is nn.Module  # which is what a trace makes of it
    return tuple(f"{layer}.{name}" for name, _ in found.named_children()) if is_factored else (layer,)


def of_factors(decisions: Mapping[str, Decision], layers: Collection[str]) -> dict[str, Decision]:
    """Decisions by layer; those of a layer that is none of `layers`, while its factors are, for each of the factors."""
    factors: dict[str, list[str]] = {}
    for name in layers:
        factors.setdefault(whole_of(name), []).append(name)
    return {
        name: decision
        for layer, decision in decisions.items()
        for name in ([layer] if layer in layers else factors.get(layer, [layer]))
    }


@dataclass(frozen=True)
class Located:
    """A channel group by the modules that hold its channels."""

    name: str
    width: int
    members: tuple[tuple[str, int], ...]
    spans: tuple[Span | None, ...] = ()
    unit: int = 1


def located(network: nn.Module, groups: Iterable[Group]) -> Sequence[Group]:
    """The groups with factors in the places of factored members: outputs are the last one's, inputs the first one's."""
    return [
        Located(group.name, group.width, tuple(_member(network, *m) for m in group.members), group.spans, group.unit)
        for group in groups
    ]


def _member(network: nn.Module, path: str, axis: int) -> tuple[str, int]:
    return factor_paths(network, path)[-1 if axis == 0 else 0], axis
