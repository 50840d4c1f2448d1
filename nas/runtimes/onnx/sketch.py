"""Draws the outline of one part of a network, operation by operation, as `nodes.py` writes its nodes. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from compressors.formats import FORMATS, Format
from nas.runtimes.onnx.operations import EITHER_SIGN, UP_TO_ONE, Unforetold, node_of, shape_of
from nas.runtimes.onnx.outline import CLAMPING, MOVING, Map, Outline
from nas.runtimes.onnx.placing import is_quantized_again, keeps_pixels
from nas.runtimes.onnx.sparse import stores_mask
from nas.runtimes.onnx.storage import Storage
from nas.runtimes.onnx.stored_weights import codes_of, dims_of, unmasked
from search_spaces.flows import INPUT, Flow, Operation
from search_spaces.layers import LayerSpec

PIXEL_SCALE, SIGMOID_POWER, ZERO = "1/255", "1/256", "0"  # scalars that quantizers share
BOUNDS = ("0.0", "6.0")  # of Clip, which share them as well
DYNAMIC = "dynamic"  # of a layer that reads floats, in the place of its format
FLOATS = ("fp32", DYNAMIC)
Grid = Mapping[str, Any]  # what a quantizer reads of its grid: arguments of Outline.add


class Sketch:
    """A part's outline while it is drawn.

    layers, formats, zeros: by the name that operations have for a layer; the zeros are those of masks. held: operations
    with results in codes; fixed: those with scales that are powers of two. The quantizer of the part's result ends it;
    the next part begins with what reads the codes.
    """

    def __init__(
        self, flow: Flow, layers: Mapping[str, LayerSpec], formats: Mapping[str, str],
        held: Collection[int], fixed: Collection[int], storage: Storage,
        zeros: Mapping[str, int] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.outline = Outline()
        self._flow, self._layers, self._formats = flow, layers, formats
        self._held, self._fixed, self._storage, self._zeros = held, fixed, storage, zeros
        self._maps, self._signed, self._values = dict[int, Map](), dict[int, bool](), dict[int, int]()
        self._grids = dict[int, Grid]()

    @property
    def is_signed(self) -> bool:
        """Whether the part's result may be negative."""
        return self._signed[len(self._flow) - 1]

    @property
    def result(self) -> Map:
        """The shape of the part's result."""
        return self._maps[len(self._flow) - 1]

    def draw(self, source: Map, *, is_signed: bool) -> Outline:
        """All operations, of an input of this shape that may be negative or not."""
        self._maps[INPUT], self._signed[INPUT], self._values[INPUT] = source, is_signed, INPUT
        if INPUT in self._held:
            self._grids[INPUT] = {"grid_of_input": 2} if is_signed else {"grid_of_input": 1, "shared": [ZERO]}
            self._values[INPUT] = self.outline.add("DequantizeLinear", [INPUT], source, **self._grids[INPUT])
        for number, operation in enumerate(self._flow):
            self._maps[number] = shape_of(self._flow, number, self._maps, self._layers)
            self._signed[number] = self._sign(operation)
            self._values[number] = self._operation(number, operation)
            if number in self._held:
                self._quantize(number, operation)
        return self.outline

    def _sign(self, operation: Operation) -> bool:
        if operation.op in EITHER_SIGN:
            return True
        clamped = operation.op in (*CLAMPING, *UP_TO_ONE)
        return not clamped and any(self._signed[read] for read in operation.reads)

    def _operation(self, number: int, operation: Operation) -> int:
        """Append an operation's own nodes; returns the number of the value it gives."""
        reads, out = [self._values[read] for read in operation.reads], self._maps[number]
        match operation.op:
            case "layer" if self._formats[operation.layer] == DYNAMIC:
                return self._dynamic_layer(operation, reads, out)
            case "layer" if self._formats[operation.layer] != "fp32":
                return self._integer_layer(operation, reads, out)
            case "layer":
                return self._float_layer(number, operation, reads, out)
            case "normalize" | "relu" | "relu6" if number in self._held and not self._keeps_normalizing(number):
                return reads[0]  # the quantizer behind does it
            case "normalize":
                return self._normalized(operation, reads, out)
            case "silu":
                return self.outline.add("Mul", [*reads, self.outline.add("Sigmoid", reads, out)], out)
            case "adaptive_average":
                return self._adaptive(operation, reads, out)
            case "relu6":
                return self.outline.add("Clip", reads, out, shared=BOUNDS)
            case "select":
                indices = self.outline.constant((out.channels,), 8 * out.channels)
                return self.outline.add("Gather", reads, out, constants=[indices], axis=1)
        name, attributes = node_of(operation)
        return self.outline.add(name, reads, out, **attributes)

    def _normalized(self, operation: Operation, reads: Sequence[int], out: Map) -> int:
        """By one number for all channels, or one for each."""
        numbers = dict(operation.fields).get("channels", 0)
        dims = (numbers, 1, 1) if numbers else ()
        mean, std = (self.outline.constant(dims, 4 * max(1, numbers)) for _ in range(2))
        return self.outline.add("Div", [self.outline.add("Sub", reads, out, constants=[mean])], out, constants=[std])

    def _adaptive(self, operation: Operation, reads: Sequence[int], out: Map) -> int:
        """Where windows are alike, they are those of a pooling; a map of one pixel is repeated."""
        before, outline, value = self._maps[operation.reads[0]], self.outline, reads[0]
        have, want = (before.side, before.width or before.side), (out.side, out.width or out.side)
        if have == want:
            raise Unforetold("adaptive_average")
        for axis, one, many in zip((2, 3), have, want, strict=True):
            if one % many and one != 1:
                raise Unforetold("adaptive_average")
            if one == 1 != many:
                value = self._repeated(operation, value, axis, many, out)
        sides = tuple(max(1, one // many) for one, many in zip(have, want, strict=True))
        return value if sides == (1, 1) else outline.add("AveragePool", [value], out, kernel_shape=sides, strides=sides)

    def _repeated(self, operation: Operation, value: int, axis: int, times: int, out: Map) -> int:
        """A row or column of one pixel, so many times; on the grid of its codes, where it has one."""
        places = self.outline.constant((times,), 8 * times)
        shape = out if axis == 3 else Map(out.channels, out.side, 1)
        value = self.outline.add("Gather", [value], shape, constants=[places], axis=axis)
        if operation.reads[0] not in self._grids:
            return value
        grid = self._grids[operation.reads[0]]
        return self.outline.add(
            "DequantizeLinear", [self.outline.add("QuantizeLinear", [value], shape, **grid)], shape, **grid
        )

    def _keeps_normalizing(self, number: int) -> bool:
        """Whether pixels are normalized in floats, since their grid is not one on which they are exact."""
        operation = self._flow[number]
        return operation.op == "normalize" and (number in self._fixed or not keeps_pixels(operation))

    def _float_layer(self, number: int, operation: Operation, reads: Sequence[int], out: Map) -> int:
        layer = self._layers[operation.layer]
        weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
        kept = layer.weight_count - self._zeros.get(operation.layer, 0)
        is_sparse = self._is_sparse(operation, FORMATS["fp32"])
        dims, texts, restored = ((kept,) if is_sparse else dims_of(layer)), [len(weight), len(bias)], list[int]()
        self.outline.constant(dims, 4 * kept if is_sparse else 4 * layer.weight_count, letters=len(weight))
        if is_sparse:
            restored, texts = [unmasked(self.outline, layer, texts=texts[:1])], texts[1:]
        self.outline.constant((layer.out_channels,), 4 * layer.out_channels, letters=len(bias))
        value = self._layer(layer, [*reads, *restored], out, texts=texts, weight_codes=False)
        if operation.reads[0] in self._held and is_quantized_again(self._flow, number, self._held):
            return self.outline.add("LeakyRelu", [value], out, alpha=1.0)  # keeps it float
        return value

    def _dynamic_layer(self, operation: Operation, reads: Sequence[int], out: Map) -> int:
        layer, outline = self._layers[operation.layer], self.outline
        ins, outs, scales = layer.in_channels, layer.out_channels, f"{layer.name}.weight_scale"
        codes = outline.add("DynamicQuantizeLinear", reads, self._maps[operation.reads[0]], outputs=3)
        restored, plain = self._weight_codes(operation, FORMATS["int8"], (ins, outs))
        zeros = outline.constant((outs,), outs)
        sums = outline.add(
            "MatMulInteger", [codes, *restored, codes], out, constants=[*plain, zeros], later=1, name=layer.name
        )  # fmt: skip
        outline.constant((outs,), 4 * outs, letters=len(scales))
        step = outline.add("Mul", [codes], out, texts=[len(scales)], later=1)
        floats = outline.add("Mul", [outline.add("Cast", [sums], out, to=1), step], out)
        return outline.add("Add", [floats], out, constants=[outline.constant((outs,), 4 * outs)])

    def _integer_layer(self, operation: Operation, reads: Sequence[int], out: Map) -> int:
        layer, outline, row = self._layers[operation.layer], self.outline, FORMATS[self._formats[operation.layer]]
        channels, scales = layer.out_channels, f"{layer.name}.weight_scale"
        of_scales = () if row.has_codebook else (channels,)
        axis: dict[str, Any] = {} if row.has_codebook else {"axis": 0}
        count = 1 if row.has_codebook else channels
        has_zeros = layer.kind == "linear" or row.has_zero_points
        zeros = [outline.constant(of_scales, count)] if has_zeros else []
        outline.constant(of_scales, 4 * count, letters=len(scales))
        restored, plain = self._weight_codes(operation, row, dims_of(layer))
        weight = outline.add("DequantizeLinear", restored, out, constants=[*plain, *zeros], texts=[len(scales)], **axis)
        bias = [outline.constant((channels,), 4 * channels), outline.constant(of_scales, 4 * count)]
        dequantized = outline.add("DequantizeLinear", [], out, constants=bias, **axis)
        return self._layer(layer, [*reads, weight, dequantized], out)

    def _is_sparse(self, operation: Operation, row: Format) -> bool:
        """Whether a layer's weight is a mask and what that keeps."""
        weights, zeros = self._layers[operation.layer].weight_count, self._zeros.get(operation.layer, 0)
        return zeros > 0 and stores_mask(row, weights, weights - zeros, self._storage)

    def _weight_codes(self, operation: Operation, row: Format, dims: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """The codes of a weight: the node that restores them, or the constant that they are."""
        layer, zeros = self._layers[operation.layer], self._zeros.get(operation.layer, 0)
        if self._is_sparse(operation, row):
            kept = layer.weight_count - zeros
            return [unmasked(self.outline, layer, *codes_of(self.outline, (kept,), kept, row, self._storage))], []
        if zeros and not row.has_zero:  # which takes a third value
            return [], [self.outline.constant(dims, layer.weight_count)]
        return codes_of(self.outline, dims, layer.weight_count, row, self._storage)

    def _layer(self, layer: LayerSpec, reads: Sequence[int], out: Map, **inputs: Any) -> int:
        if layer.kind == "linear":
            return self.outline.add("Gemm", reads, out, name=layer.name, transB=1, **inputs)
        return self.outline.add(
            "Conv", reads, out, name=layer.name, kernel_shape=layer.kernels, strides=layer.strides,
            pads=layer.paddings * 2, dilations=layer.dilation, group=layer.groups, **inputs,
        )  # fmt: skip

    def _quantize(self, number: int, operation: Operation) -> None:
        """Append what puts a result on its grid, and unless it is the part's last, what reads it from there."""
        shape, value = self._maps[number], self._values[number]
        own = self._grids[number] = self._grid(number, operation)
        # The codes of pixels are what they are: they are stored on one grid and read on another.
        are_pixels = operation.op == "normalize" and not self._keeps_normalizing(number)
        stored = {"shared": [PIXEL_SCALE, ZERO]} if are_pixels else own
        value = self.outline.add("QuantizeLinear", [value], shape, **stored)
        if number < len(self._flow) - 1:
            value = self.outline.add("DequantizeLinear", [value], shape, **own)
        self._values[number] = value

    def _grid(self, number: int, operation: Operation) -> Grid:
        repeats = operation.op == "adaptive_average" and self._maps[operation.reads[0]].side == 1
        if (operation.op in MOVING or repeats) and operation.reads[0] in self._grids:
            return self._grids[operation.reads[0]]
        is_like_a_part = operation.op == "concatenate" and not self._signed[number] and not self._fixed
        if is_like_a_part and operation.reads[-1] in self._grids:
            return self._grids[operation.reads[-1]]  # its range is that of a part, mostly: the scale is stored once
        if operation.op in UP_TO_ONE:
            return {"shared": [SIGMOID_POWER if number in self._fixed else PIXEL_SCALE, ZERO]}
        scale = self.outline.constant((), 4)
        self.outline.power_scales += number in self._fixed
        if not self._signed[number]:
            return {"constants": [scale], "shared": [ZERO]}
        self.outline.zero_points += 1
        return {"constants": [scale, self.outline.constant((), 1)]}
