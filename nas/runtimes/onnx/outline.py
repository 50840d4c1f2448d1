"""One part's piece of a file, foretold from its layers and their formats: its nodes, and the bytes they take. No torch.

It follows `compressors/quantization/placing.py`, which places quantizers, and `nodes.py` and `weights.py`, which
write nodes; a test compares it with files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas.runtimes.onnx.sizes import node_bytes, tensor_bytes
from search_spaces.flows import INPUT

CLAMPING = ("relu", "relu6")
KEEPING = (
    "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh", "gelu", "elu", "leaky_relu", "average",
    "average_pool", "adaptive_average", "max_pool", "add", "multiply", "concatenate", "select", "flatten",
)  # fmt: skip
MOVING = ("select", "flatten", "max_pool")  # which leave codes on their grid
ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "relu": ("Relu", {}),
    "hardswish": ("HardSwish", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "average": ("GlobalAveragePool", {}),
    "add": ("Add", {}),
    "multiply": ("Mul", {}),
    "concatenate": ("Concat", {"axis": 1}),
    "flatten": ("Flatten", {"axis": 1}),
}


class Map(NamedTuple):
    """An activation: channels, and side in pixels; its height, where it has another `width` (0: the same)."""

    channels: int
    side: int
    width: int = 0

    @property
    def elements(self) -> int:
        return self.channels * self.side * (self.width or self.side)


class Node(NamedTuple):
    """A node, the numbers of the nodes it reads (INPUT: the part's input) and what it writes.

    Nothing is read by what restores a weight, which is done when the file is loaded. `weight_codes`: of a layer,
    whether its weight is codes.
    """

    op: str
    reads: tuple[int, ...]
    out: Map
    weight_codes: bool = True


@dataclass
class Outline:
    """Nodes and stored values in the file's order; `size_bytes` is without the letters of numbered names.

    node_uses, constant_uses: how often the numbered name of each node, of each stored value stands in the file.
    input_uses, grid_uses: the same of the part's input, and of the scalars of its grid that it does not share.
    scalars: by those that the whole file shares, how often, and before which of the part's own constants the first use
    is. zero_points: grids with a zero point of their own. power_scales: scales of grids that
    are powers of two. restored_bits: bits of codes that a function of the file restores. unmasks: whether a function of
    the file joins masks and weights.
    """

    nodes: list[Node] = field(default_factory=list)
    size_bytes: int = 0
    node_uses: list[int] = field(default_factory=list)
    constant_uses: list[int] = field(default_factory=list)
    input_uses: int = 0
    grid_uses: int = 0
    zero_points: int = 0
    power_scales: int = 0
    scalars: dict[str, tuple[int, int]] = field(default_factory=dict)
    restored_bits: set[int] = field(default_factory=set)
    unmasks: bool = False

    def add(
        self, op: str, reads: Sequence[int], out: Map, *, constants: Iterable[int] = (), texts: Sequence[int] = (),
        shared: Sequence[str] = (), grid_of_input: int = 0, name: str = "", domain: str = "",
        weight_codes: bool = True, outputs: int = 1, later: int = 0, **attributes: Any,
    ) -> int:  # fmt: skip
        """Append a node; returns its number.

        It also reads numbered `constants`, constants whose own names have `texts` letters, `shared` scalars, and
        `grid_of_input` scalars of the grid that the part's input lies on. The names of `outputs` after the first have a
        letter more; `later` of the `reads` are of such ones.
        """
        constants = tuple(constants)
        inputs = len(reads) + len(constants) + len(texts) + len(shared) + grid_of_input
        self.size_bytes += node_bytes(
            op, inputs + outputs - 1, text=sum(texts) + later + outputs - 1, name=name, domain=domain,
            attributes=tuple(attributes.items()),
        )  # fmt: skip
        for read in reads:
            if read == INPUT:
                self.input_uses += 1
            else:
                self.node_uses[read] += 1
        for constant in constants:
            self.constant_uses[constant] += 1
        self.grid_uses += grid_of_input
        for scalar in shared:
            uses, first = self.scalars.get(scalar, (0, len(self.constant_uses)))
            self.scalars[scalar] = (uses + 1, first)
        self.nodes.append(Node(op, tuple(reads), out, weight_codes))
        self.node_uses.append(outputs)
        return len(self.nodes) - 1

    def constant(self, dims: tuple[int, ...], data_bytes: int, *, letters: int | None = None) -> int:
        """Append a stored value; returns its number, which a name of its own (of `letters`) does not show."""
        self.size_bytes += tensor_bytes(dims, data_bytes, name_letters=letters)
        self.constant_uses.append(1 if letters is None else 0)
        return len(self.constant_uses) - 1
