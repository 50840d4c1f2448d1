"""What a file has of the operations between layers: the ONNX operation and its attributes, as `nodes.py` writes them,
and the shape that results. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.runtimes.onnx.outline import ROWS, Map
from search_spaces.flows import Flow, Operation
from search_spaces.layers import LayerSpec

Attributes = dict[str, Any]
UP_TO_ONE = ("hardsigmoid", "sigmoid")  # from 0 on, whatever they are given
EITHER_SIGN = ("layer", "hardswish", "normalize", "silu", "tanh", "gelu", "elu", "leaky_relu")


class Unforetold(Exception):
    """What no file is foretold of."""


def node_of(operation: Operation) -> tuple[str, Attributes]:
    """The ONNX operation and its attributes, of what becomes one node."""
    if operation.op in ROWS:
        name, attributes = ROWS[operation.op]
        return name, dict(attributes)
    if operation.op not in OF_FIELDS:
        raise Unforetold(operation.op)
    name, read = OF_FIELDS[operation.op]
    return name, read(dict(operation.fields))


def _max_pool(fields: Mapping[str, Any]) -> Attributes:
    return {
        "kernel_shape": fields["kernel_size"],
        "strides": fields["stride"],
        "pads": tuple(fields["padding"]) * 2,
        "dilations": tuple(fields.get("dilation", (1, 1))),
    }


def _average_pool(fields: Mapping[str, Any]) -> Attributes:
    counts = bool(fields.get("count_include_pad", True)) and any(fields["padding"])
    if fields.get("ceil_mode", False) and counts:  # which may become one node, or two
        raise Unforetold("average_pool")
    return {
        "kernel_shape": fields["kernel_size"],
        "strides": fields["stride"],
        "pads": tuple(fields["padding"]) * 2,
        "count_include_pad": int(counts),
    }


OF_FIELDS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Attributes]]] = {
    "max_pool": ("MaxPool", _max_pool),
    "average_pool": ("AveragePool", _average_pool),
    "gelu": ("Gelu", lambda fields: {"approximate": fields.get("approximate", "none")}),
    "elu": ("Elu", lambda fields: {"alpha": float(fields.get("alpha", 1.0))}),
    "leaky_relu": ("LeakyRelu", lambda fields: {"alpha": float(fields.get("negative_slope", 0.01))}),
}


def shape_of(flow: Flow, number: int, maps: Mapping[int, Map], layers: Mapping[str, LayerSpec]) -> Map:
    """The map that an operation gives, of those before it."""
    operation = flow[number]
    before = maps[operation.reads[0]]
    if operation.op == "layer":
        return _map(layers[operation.layer].out_channels, layers[operation.layer].output_map)
    if operation.op == "average":
        return Map(before.channels, 1)
    channels = before.channels
    if operation.op == "normalize":
        channels = max(channels, dict(operation.fields).get("channels", 0))
    if operation.op == "select":
        channels = _selected(flow, number, maps, layers) if operation.fields else channels // 2
    if operation.op == "concatenate":
        channels = sum(maps[read].channels for read in operation.reads)
    if operation.op == "flatten" and operation.size is not None:
        return Map(before.elements, 1)
    return Map(channels, before.side, before.width) if operation.size is None else _map(channels, operation.size)


def _map(channels: int, size: tuple[int, int]) -> Map:
    height, width = size
    return Map(channels, height, width if width != height else 0)


def _selected(flow: Flow, number: int, maps: Mapping[int, Map], layers: Mapping[str, LayerSpec]) -> int:
    """How many channels a selection takes of what is left: what its reader reads, or what the other selections of the
    same channels leave, which are all where there are no others.
    """
    if (read := _read_by_layer(flow, number, layers)) is not None:
        return read
    source, own = flow[number].reads[0], _channels(flow[number])
    others = [
        place for place, one in enumerate(flow) if one.op == "select" and place != number and one.reads[0] == source
    ]
    whole = sorted([*own, *(channel for place in others for channel in _channels(flow[place]))])
    if maps[source].channels > len(whole) or whole != list(range(len(whole))):
        raise Unforetold("select")  # of channels that nothing selects nobody knows how many are left
    left = [_read_by_layer(flow, place, layers) for place in others]
    if None in left:
        raise Unforetold("select")
    return maps[source].channels - sum(channels for channels in left if channels is not None)


def _channels(operation: Operation) -> Sequence[int]:
    channels: Sequence[int] = dict(operation.fields)["channels"]
    return channels


def _read_by_layer(flow: Flow, number: int, layers: Mapping[str, LayerSpec]) -> int | None:
    """Channels that a layer reads of an operation's result; None where none reads it as it is."""
    readers = (one for one in flow if one.op == "layer" and number in one.reads)
    return next((layers[one.layer].in_channels for one in readers if layers[one.layer].kind != "linear"), None)
