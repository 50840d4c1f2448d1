"""Peak activation memory of one part's outline, by the rules of `memory.py` for whole files. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from nas.runtimes.onnx.graph import FLOAT_RESULT, FUSED_OPS, INTEGER_OPS, LAYER_OPS
from nas.runtimes.onnx.outline import Map, Node
from search_spaces.flows import INPUT

BYTES = {"QuantizeLinear": 1, "DynamicQuantizeLinear": 1}  # of an element
BESIDE = {"DynamicQuantizeLinear": 5}  # bytes: its scale and zero point


class _Part:
    """A part's nodes, and who reads each of them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.readers: dict[int, list[int]] = {}
        self.folded = set[int]()
        for number, node in enumerate(nodes):
            if self.folded.issuperset(node.reads):
                self.folded.add(number)
            for read in node.reads:
                self.readers.setdefault(read, []).append(number)

    def activations(self, number: int) -> list[int]:
        return [read for read in self.nodes[number].reads if read not in self.folded]

    def on_codes(self, number: int) -> bool:
        """Whether all that a node computes with is dequantized; a layer's weight too."""
        node = self.nodes[number]
        behind = all(self._is(read, "DequantizeLinear") for read in self.activations(number))
        return node.op in INTEGER_OPS and behind and (node.op not in LAYER_OPS or node.weight_codes)

    def is_integer(self, number: int) -> bool:
        if not self.on_codes(number):
            return False
        reader = self._sole_reader(number)
        while reader is not None and self.nodes[reader].op in FUSED_OPS:
            reader = self._sole_reader(reader)
        return self.nodes[number].op in FLOAT_RESULT or (reader is not None and self._is(reader, "QuantizeLinear"))

    def shares_buffer(self, number: int) -> bool:
        """Whether a node writes where its input is, or reads codes in place."""
        node = self.nodes[number]
        source = node.reads[0]
        if node.op == "DequantizeLinear":
            return all(map(self.is_integer, self.readers.get(number, [])))
        if source == INPUT or len(self.readers[source]) != 1:
            return False
        if node.op == "QuantizeLinear":
            return self.on_codes(self._origin(source))
        return self._is_fused(number)

    def read_by(self, number: int) -> list[int]:
        """The values a node reads: codes, where it computes on them."""
        if not self.is_integer(number):
            return self.activations(number)
        return [self.nodes[read].reads[0] for read in self.activations(number)]

    def _origin(self, number: int) -> int:
        while self._is_fused(number) and len(self.readers[self.nodes[number].reads[0]]) == 1:
            number = self.nodes[number].reads[0]
        return number

    def _is_fused(self, number: int) -> bool:
        return self.nodes[number].op in FUSED_OPS and not self.on_codes(number)

    def _is(self, number: int, op: str) -> bool:
        return number != INPUT and self.nodes[number].op == op

    def _sole_reader(self, number: int) -> int | None:
        readers = self.readers.get(number, [])
        return readers[0] if len(readers) == 1 else None


def peak_of_part(nodes: Sequence[Node], source: Map, source_bytes: int) -> int:
    """The largest sum of live activations, in bytes, of an input whose elements have `source_bytes` each."""
    part = _Part(nodes)
    home, sizes, last_read = {INPUT: INPUT}, {INPUT: source.elements * source_bytes}, dict[int, int]()
    for number, node in enumerate(nodes):
        if number in part.folded:
            continue
        for read in part.read_by(number):
            last_read[home[read]] = number
        home[number] = home[node.reads[0]] if part.shares_buffer(number) else number
        if node.op != "DequantizeLinear" or home[number] == number:
            sizes[home[number]] = node.out.elements * BYTES.get(node.op, 4) + BESIDE.get(node.op, 0)
    last_read[home[len(nodes) - 1]] = len(nodes)
    live, peak = {INPUT}, 0
    for number in range(len(nodes)):
        live |= {home[number]} if number in home else set()
        peak = max(peak, sum(sizes[one] for one in live))
        live = {one for one in live if last_read.get(one, -1) > number}
    return peak
