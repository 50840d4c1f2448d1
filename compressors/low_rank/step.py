"""Low rank as a step of a compression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import nn

from compressors.low_rank.factoring import Factoring
from compressors.low_rank.factors import Shape
from compressors.low_rank.modules import factored, shape_of, weight_of
from compressors.low_rank.numerics import ranks_by_weights
from compressors.pipeline import Method, Options
from compressors.pruning.places import Group, channels_gone
from compressors.requests.low_rank import LowRank


def apply(network: nn.Module, record: LowRank, options: Options) -> nn.Module:
    """Replace each layer of the record by its factors, in place, unless they have no fewer parameters.

    Raises ValueError for layers that the network does not have, Unsupported for those that cannot be factored.
    """
    for path, asked in record.layers.items():
        layer, shape = _layer(network, path)
        ranks = asked.ranks_of(_left(path, shape, record.kept, options.groups))
        if ranks is not None:
            network.set_submodule(path, factored(path, layer, asked, ranks))
    return network


def resolve(network: nn.Module, record: LowRank, options: Options) -> LowRank:
    """The record with every rank written out; layers that are left alone are left out."""
    found: dict[str, Factoring] = {}
    for path, asked in record.layers.items():
        layer, shape = _layer(network, path)
        told = ranks_by_weights(weight_of(layer), asked) if asked.depends_on_weights else None
        if told is None and asked.depends_on_weights:
            continue
        ranks = (asked if told is None else asked.at(told)).ranks_of(_left(path, shape, record.kept, options.groups))
        if ranks is not None:
            found[path] = asked.at(ranks, settled=True)
    return replace(record, layers=found)


def _layer(network: nn.Module, path: str) -> tuple[nn.Module, Shape]:
    try:
        layer = network.get_submodule(path)
    except AttributeError:
        raise ValueError(f"low_rank names {path}, which the network does not have") from None
    return layer, shape_of(path, layer)


def _left(path: str, shape: Shape, kept: Mapping[str, int], groups: Iterable[Group]) -> Shape:
    """The layer's shape when the groups are cut to these counts, which ranks are measured by."""
    gone = channels_gone(groups, kept)
    inputs, outputs = (gone.get((path, axis), 0) for axis in (1, 0))
    return replace(shape, inputs=shape.inputs - inputs, outputs=shape.outputs - outputs)


LOW_RANK = Method(resolve=resolve, apply=apply)
