"""What a part of a network does between its layers, as plain data: operations, and what each of them reads.

It is what a trace of the torch module in eval mode gives, batch norm folded; a test compares the two for every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from search_spaces.block_configs import (
    Activation,
    FusedInvertedResidualConfig,
    InvertedResidualConfig,
    PlainConfig,
    ResidualConfig,
    ShuffleConfig,
)

Op = Literal[
    "layer", "normalize", "relu", "relu6", "hardswish", "hardsigmoid", "average", "add", "multiply", "concatenate",
    "select", "flatten", "sigmoid", "silu", "tanh", "gelu", "elu", "leaky_relu", "max_pool", "average_pool",
    "adaptive_average",
]  # fmt: skip
INPUT = -1  # in `reads`: what the part is given


class Operation(NamedTuple):
    """One operation. `reads` are numbers of earlier ones of its part, `layer` is a layer's name in its block.

    Of a network that exists already: `size`, height and width of what it gives, and its `fields` by name.
    """

    op: Op
    reads: tuple[int, ...]
    layer: str = ""
    size: tuple[int, int] | None = None
    fields: tuple[tuple[str, Any], ...] = ()


class Flow(list[Operation]):
    """The operations of a part, in order of execution."""

    def do(self, op: Op, *reads: int, layer: str = "") -> int:
        """Append an operation; returns its number."""
        self.append(Operation(op, reads, layer))
        return len(self) - 1

    def run(self, layer: str, source: int, activation: Activation | None = None) -> int:
        """Append a layer, and the activation behind it; returns the last one's number."""
        source = self.do("layer", source, layer=layer)
        return source if activation is None else self.do(activation, source)


def inverted_residual(flow: Flow, config: InvertedResidualConfig, keeps_shape: bool) -> None:
    out = INPUT
    if config.expansion > 1:
        out = flow.run("expand", out, config.activation)
    out = flow.run("depthwise", out, config.activation)
    if config.squeeze_excite:
        squeezed = flow.run("squeeze_excite.squeeze", flow.do("average", out), "relu")
        gates = flow.do("hardsigmoid", flow.run("squeeze_excite.excite", squeezed))
        out = flow.do("multiply", out, gates)
    out = flow.run("project", out)
    if keeps_shape:
        flow.do("add", INPUT, out)


def fused_inverted_residual(flow: Flow, config: FusedInvertedResidualConfig, keeps_shape: bool) -> None:
    out = flow.run("project", flow.run("expand", INPUT, config.activation))
    if keeps_shape:
        flow.do("add", INPUT, out)


def residual(flow: Flow, config: ResidualConfig, keeps_shape: bool) -> None:
    out = flow.run("conv2", flow.run("conv1", INPUT, config.activation))
    passed = INPUT if keeps_shape else flow.run("shortcut", INPUT)
    flow.do(config.activation, flow.do("add", passed, out))


def shuffle(flow: Flow, config: ShuffleConfig, keeps_shape: bool) -> None:
    if keeps_shape:
        first, source = flow.do("select", INPUT), flow.do("select", INPUT)
    else:
        source = INPUT
        first = flow.run("shortcut_project", flow.run("shortcut_depthwise", INPUT), config.activation)
    out = flow.run("expand", source, config.activation)
    out = flow.run("project", flow.run("depthwise", out), config.activation)
    flow.do("concatenate", first, out)


def plain(flow: Flow, config: PlainConfig, keeps_shape: bool) -> None:
    flow.run("conv", INPUT, config.activation)


def of_stem(activation: Activation) -> Flow:
    flow = Flow()
    flow.run("conv", flow.do("normalize", INPUT), activation)
    return flow


def of_head(activation: Activation) -> Flow:
    flow = Flow()
    flow.run("conv", INPUT, activation)
    return flow


def of_classifier() -> Flow:
    flow = Flow()
    flow.run("", flow.do("flatten", flow.do("average", INPUT)))
    return flow


def with_factors(flow: Flow, layers: Collection[str]) -> Flow:
    """The flow with the factors that are among `layers` in the places of the layers they are of."""
    if all(operation.op != "layer" or operation.layer in layers for operation in flow):
        return flow
    found, place = Flow(), {INPUT: INPUT}
    for number, operation in enumerate(flow):
        reads = [place[read] for read in operation.reads]
        if operation.op == "layer" and operation.layer not in layers:
            for factor in _factors(operation.layer, layers):
                reads = [found.do("layer", *reads, layer=factor)]
            place[number] = reads[0]
        else:
            found.append(operation._replace(reads=tuple(reads)))
            place[number] = len(found) - 1
    return found


@dataclass(frozen=True, eq=False)
class Stretch:
    """Parts in a row, by name, and what they do: one tensor goes in and one comes out. Layers have their full names."""

    parts: tuple[str, ...]
    flow: Flow


def _factors(layer: str, layers: Collection[str]) -> list[str]:
    """The factors of a layer, in order: they are numbered."""
    start = f"{layer}." if layer else ""
    return [name for name in layers if name.startswith(start) and name[len(start) :].isdigit()]


Writer = Callable[[Flow, Any, bool], None]

# By kind of block; of a kind that is not here, no file can be foretold.
FLOWS: dict[str, Writer] = {
    "inverted_residual": inverted_residual,
    "fused_inverted_residual": fused_inverted_residual,
    "residual": residual,
    "shuffle": shuffle,
    "plain": plain,
}
# The same of kinds that a study brings along.
OWN_FLOWS: dict[str, Writer] = {}


def has_flow(kind: str) -> bool:
    """Whether it is known what blocks of this kind do between their layers."""
    return kind in FLOWS or kind in OWN_FLOWS


def writer_of(kind: str) -> Writer:
    """What writes the flow of a kind's blocks. Raises KeyError where it is not known."""
    found = FLOWS.get(kind)
    return OWN_FLOWS[kind] if found is None else found
