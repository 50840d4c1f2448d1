"""Coded ONNX files: whatever is emitted comes back byte for byte, smaller than a general coder makes it."""

from __future__ import annotations

import lzma

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import CLASSES, HEADER, LAYERS, MIXED, quantized
from onnx import TensorProto, helper, numpy_helper

from compressors.coding.container import decoded
from compressors.coding.spans import best_piece
from compressors.coding.views import VIEWS
from compressors.formats import FORMATS
from nas.runtimes.onnx.coding import HUFFMAN, coded_file, spans
from nas.runtimes.onnxruntime import ONNXRUNTIME


def emitted(formats: dict[str, str]) -> bytes:
    return ONNXRUNTIME.emit(quantized(formats), HEADER)


@pytest.mark.parametrize("fmt", [name for name, row in FORMATS.items() if not row.is_float])
def test_every_format_comes_back_and_is_smaller(fmt: str) -> None:
    data = emitted(dict.fromkeys(LAYERS, fmt))
    blob = coded_file(data)
    assert decoded(blob) == data
    assert len(blob) < len(lzma.compress(data)) < len(data)
    assert len(blob) <= len(coded_file(data, HUFFMAN))


def test_spans_are_the_stored_tensors() -> None:
    data = emitted(dict(MIXED))
    stored = [t for t in onnx.load_from_string(data).graph.initializer if len(t.raw_data) >= 16]
    assert [data[span.start : span.stop] for span in spans(data)] == [t.raw_data for t in stored]
    assert len(stored) > len(CLASSES)


def model(*tensors: onnx.TensorProto) -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], list(tensors))
    return helper.make_model(graph).SerializeToString()


def view_of(data: bytes) -> tuple[str, tuple[int, int]]:
    found = [best_piece(data[span.start : span.stop], span) for span in spans(data)]
    (piece,) = found
    return VIEWS[piece.view].name, piece.shape


@pytest.mark.parametrize("bits", [2, 3, 5, 6])
def test_planes_are_seen_as_the_codes_of_the_shape_that_the_file_tells(bits: int) -> None:
    random = np.random.default_rng(0)
    rows = random.binomial(2**bits - 1, random.random((1, 40)) ** 4, (25, 40))  # columns of their own kind
    planes = np.stack([np.packbits(rows.reshape(-1) >> bit & 1) for bit in range(bits)]).astype(np.uint8)[:, :, None]
    shape = numpy_helper.from_array(np.array([25, 4, 5, 2], np.int64), "shape")
    shape.ClearField("dims")
    shape.dims.append(4)
    data = model(numpy_helper.from_array(planes, "planes"), shape)
    planes_span = spans(data)[0]
    piece = best_piece(data[planes_span.start : planes_span.stop], planes_span)
    assert (VIEWS[piece.view].name, piece.shape) == (f"{bits} planes", (25, 40))
    assert piece.codings[0].name == "range by column"


def test_planes_of_what_a_mask_keeps_are_seen_as_codes_in_a_row() -> None:
    """Their shape is a single number."""
    codes = np.random.default_rng(0).binomial(7, 0.3, 1501)
    planes = np.stack([np.packbits(codes >> bit & 1) for bit in range(3)]).astype(np.uint8)[:, :, None]
    shape = numpy_helper.from_array(np.array([1501], np.int64), "shape")
    assert view_of(model(numpy_helper.from_array(planes, "planes"), shape)) == ("3 planes", (1, 1501))


def test_packed_bytes_are_seen_as_codes() -> None:
    codes = np.random.default_rng(0).choice(4, 999, p=[0.85, 0.05, 0.05, 0.05])
    packed = np.zeros(1000, np.uint8)
    packed[:999] = codes
    data = model(numpy_helper.from_array((packed.reshape(-1, 4) << np.arange(0, 8, 2)).sum(1).astype(np.uint8), "c"))
    assert view_of(data) == ("2 bits", (1, 1000))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "i8", "i1", "u1", "u2", "?"])
def test_tensors_of_any_type(dtype: str) -> None:
    values = np.random.default_rng(0).normal(0, 50, (8, 9)).astype(dtype)
    data = model(numpy_helper.from_array(values, "w"), numpy_helper.from_array(values[:, :1].copy(), "b"))
    assert spans(data)
    assert decoded(coded_file(data)) == data


@given(st.binary(max_size=200))
def test_what_is_no_onnx_file_is_coded_as_a_whole(data: bytes) -> None:
    assert decoded(coded_file(data)) == data
