"""What a file stores of a layer's weight, foretold as `weights.py` and `sparse.py` write it. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from compressors.formats import Format
from nas.runtimes.onnx.outline import Map, Outline
from nas.runtimes.onnx.packing import FUNCTIONS, NARROW, UNPACK
from nas.runtimes.onnx.sparse import UNMASK, mask_bytes
from nas.runtimes.onnx.storage import Storage
from search_spaces.layers import LayerSpec


def dims_of(layer: LayerSpec) -> tuple[int, ...]:
    """The shape of a layer's weight."""
    inputs = layer.in_channels // layer.groups
    return (layer.out_channels, inputs) if layer.kind == "linear" else (layer.out_channels, inputs, *layer.kernels)


def unmasked(
    outline: Outline,
    layer: LayerSpec,
    reads: Sequence[int] = (),
    constants: Sequence[int] = (),
    *,
    texts: Sequence[int] = (),
) -> int:
    """The node that puts what a mask leaves where it stands."""
    dims = dims_of(layer)
    bits = outline.constant((mask_bytes(layer.weight_count), 1), mask_bytes(layer.weight_count))
    shape = outline.constant((len(dims),), 8 * len(dims))
    outline.unmasks = True
    return outline.add(UNMASK, reads, Map(0, 0), constants=[bits, *constants, shape], texts=texts, domain=FUNCTIONS)


def codes_of(
    outline: Outline, dims: tuple[int, ...], count: int, row: Format, storage: Storage
) -> tuple[list[int], list[int]]:
    """So many codes: the node that restores them, or the constant that they are."""
    if row.bits == 8 or row.name in storage.as_int8:
        return [], [outline.constant(dims, count)]
    if not row.has_codebook:
        return [_restored(outline, dims, count, row.bits, TensorProto.INT8)], []
    indices = _restored(outline, dims, count, row.bits, TensorProto.INT32)
    entries = outline.constant((len(row.codes),), len(row.codes))
    return [outline.add("Gather", [indices], Map(0, 0), constants=[entries], axis=0)], []


def _restored(outline: Outline, dims: tuple[int, ...], count: int, bits: int, to: int) -> int:
    """The node that gives packed codes in an ONNX type."""
    if bits in NARROW:
        packed = outline.constant(dims, -(-count * bits // 8))
        return outline.add("Cast", [], Map(0, 0), constants=[packed], to=to)
    bytes_of_plane = -(-count // 8)
    planes = outline.constant((bits, bytes_of_plane, 1), bits * bytes_of_plane)
    shape = outline.constant((len(dims),), 8 * len(dims))
    outline.restored_bits.add(bits)
    codes = outline.add(f"{UNPACK}{bits}", [], Map(0, 0), constants=[planes, shape], domain=FUNCTIONS)
    return codes if to == TensorProto.INT8 else outline.add("Cast", [codes], Map(0, 0), to=to)
