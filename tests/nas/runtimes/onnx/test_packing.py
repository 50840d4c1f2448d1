"""Codes below 8 bits: what is stored is what comes back, by ONNX's own readers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from nas.runtimes.onnx.packing import FUNCTIONS, UNPACK, pack, to_planes, unpack_function

Array = np.ndarray[Any, Any]
SHAPES = hnp.array_shapes(max_dims=4, max_side=7)


def codes_of(bits: int) -> st.SearchStrategy[Array]:
    return hnp.arrays(np.int8, SHAPES, elements=st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


@pytest.mark.parametrize(("bits", "kind"), [(4, TensorProto.INT4), (2, TensorProto.INT2)])
@given(data=st.data())
def test_packed_codes_are_how_onnx_stores_them(bits: int, kind: int, data: st.DataObject) -> None:
    codes = data.draw(codes_of(bits))
    packed = pack(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.size == -(-codes.size * bits // 8)
    tensor = helper.make_tensor("codes", kind, codes.shape, packed.tobytes(), raw=True)
    assert np.array_equal(numpy_helper.to_array(tensor).astype(np.int8), codes)


def test_packing_by_hand() -> None:
    assert pack(np.array([1, -1, 7, -8, 3], np.int8), 4).tolist() == [0xF1, 0x87, 0x03]
    assert pack(np.array([1, -1, -2, 0, 1], np.int8), 2).tolist() == [0b00101101, 0b01]


def test_planes_by_hand() -> None:
    # Plus 4: 0, 7, 5; the lowest bits are 0 1 1, then 0 1 0, then 0 1 1, each filled up to a byte from the left.
    planes = to_planes(np.array([-4, 3, 1], np.int8), 3)
    assert planes[:, :, 0].tolist() == [[0b01100000], [0b01000000], [0b01100000]]


@pytest.mark.parametrize("bits", [3, 5, 6])
@given(data=st.data())
def test_the_function_restores_the_codes(bits: int, data: st.DataObject) -> None:
    codes = data.draw(codes_of(bits))
    planes = to_planes(codes, bits)
    assert planes.nbytes == bits * -(-codes.size // 8)
    function = unpack_function(bits, 21)
    node = helper.make_node(f"{UNPACK}{bits}", ["planes", "shape"], ["codes"], domain=FUNCTIONS)
    inputs = [
        helper.make_tensor_value_info("planes", TensorProto.UINT8, [bits, None, 1]),
        helper.make_tensor_value_info("shape", TensorProto.INT64, [None]),
    ]
    output = helper.make_tensor_value_info("codes", TensorProto.INT8, None)
    graph = helper.make_graph([node], "unpack", inputs, [output])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(FUNCTIONS, 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)
    (restored,) = ReferenceEvaluator(model).run(None, {"planes": planes, "shape": np.array(codes.shape, np.int64)})
    assert restored.dtype == np.int8
    assert np.array_equal(restored, codes)
