"""Files from elsewhere: ours and ordinary ones pass, whatever reaches outside of itself does not."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nas.runtimes.onnx.strangers
from nas.runtimes.onnx.control import control_file
from nas.runtimes.onnx.strangers import MOST_DEPTH, refuse_unsafe
from nas.runtimes.runtime import RuntimeRefused

Model = onnx.ModelProto
VALUE = helper.make_tensor_value_info


def model_of(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = ("N", 3, 8, 8)) -> Model:
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["image"], ["out"])],
        "g",
        [VALUE("image", TensorProto.FLOAT, shape)],
        [VALUE("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(3, np.float32), "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def outside(tensor: TensorProto) -> TensorProto:
    """The tensor as it were in another file."""
    found = TensorProto()
    found.CopyFrom(tensor)
    onnx.external_data_helper.set_external_data(found, "/etc/passwd")
    found.ClearField("raw_data")
    return found


TENSOR = numpy_helper.from_array(np.ones(3, np.float32), "t")
SPARSE = helper.make_sparse_tensor(outside(TENSOR), numpy_helper.from_array(np.arange(3), "i"), [9])


def within(*nodes: onnx.NodeProto, depth: int = 1) -> onnx.NodeProto:
    """A node whose graph holds others."""
    graph = helper.make_graph(list(nodes), "then", [], [VALUE("x", TensorProto.FLOAT, None)])
    node = helper.make_node("If", ["c"], ["x"], then_branch=graph)
    return node if depth == 1 else within(node, depth=depth - 1)


def with_weight() -> Model:
    model = model_of()
    model.graph.initializer[0].CopyFrom(outside(TENSOR))
    return model


def said_but_not_marked() -> Model:
    """A tensor that names a file while it says that it needs none."""
    model = with_weight()
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    return model


def with_sparse_weight() -> Model:
    model = model_of()
    model.graph.sparse_initializer.append(SPARSE)
    return model


def in_a_function(node: onnx.NodeProto) -> Model:
    model = model_of(helper.make_node("mine", ["image"], ["y"], domain="own"))
    model.functions.append(helper.make_function("own", "mine", ["a"], ["b"], [node], [helper.make_opsetid("", 21)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def two_inputs() -> Model:
    model = model_of()
    model.graph.input.append(VALUE("more", TensorProto.FLOAT, [1]))
    return model


def integers() -> Model:
    model = model_of()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


CONSTANT = helper.make_node("Constant", [], ["c"], value=outside(TENSOR))
IDENTITY = helper.make_node("Identity", ["a"], ["b"])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: onnx.ModelProto.FromString(control_file()), id="the control"),
        pytest.param(model_of, id="an ordinary one"),
        pytest.param(lambda: model_of(shape=(4, 3, 8, 8)), id="a fixed batch"),
        pytest.param(lambda: in_a_function(IDENTITY), id="its own function"),
        pytest.param(lambda: model_of(helper.make_node("QGemm", ["image"], ["y"], domain="com.microsoft")), id="ORT's"),
        pytest.param(lambda: model_of(within(IDENTITY, depth=3)), id="graphs within"),
    ],
)
def test_what_passes(model: Callable[[], Model]) -> None:
    refuse_unsafe(model().SerializeToString())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(with_weight, "'t' outside", id="a weight"),
        pytest.param(said_but_not_marked, "'t' outside", id="a weight that hides it"),
        pytest.param(with_sparse_weight, "'t' outside", id="a sparse weight"),
        pytest.param(lambda: model_of(CONSTANT), "'t' outside", id="a constant"),
        pytest.param(lambda: model_of(within(CONSTANT, depth=2)), "'t' outside", id="a constant two graphs down"),
        pytest.param(lambda: in_a_function(CONSTANT), "'t' outside", id="a constant of a function"),
        pytest.param(
            lambda: model_of(helper.make_node("Constant", [], ["c"], sparse_value=SPARSE)), "'t' outside", id="sparse"
        ),
        pytest.param(
            lambda: model_of(helper.make_node("X", [], ["c"], many=[outside(TENSOR)])), "'t' outside", id="a list"
        ),
        pytest.param(lambda: model_of(helper.make_node("Evil", [], ["c"], domain="x.y")), "x.y:Evil", id="a domain"),
        pytest.param(
            lambda: model_of(within(helper.make_node("Evil", [], ["c"], domain="x.y"))),
            "x.y:Evil",
            id="a domain within",
        ),
        pytest.param(
            lambda: in_a_function(helper.make_node("other", [], ["c"], domain="own")),
            "own:other",
            id="no such function",
        ),
        pytest.param(
            lambda: model_of(helper.make_node("EPContext", [], ["c"], domain="com.microsoft")),
            "EPContext",
            id="context",
        ),
        pytest.param(two_inputs, "one input, got 2", id="two inputs"),
        pytest.param(integers, "float32 images", id="integers"),
        pytest.param(lambda: model_of(shape=("N", "C", 8, 8)), "three fixed dimensions", id="open shape"),
        pytest.param(lambda: model_of(shape=("N", 8)), "three fixed dimensions", id="a table"),
        pytest.param(lambda: model_of(shape=(1, 3, 2**20, 2**20)), "values in an image", id="a huge image"),
        pytest.param(lambda: model_of(within(IDENTITY, depth=MOST_DEPTH + 1)), "deep", id="deep"),
    ],
)
def test_what_is_refused(model: Callable[[], Model], words: str) -> None:
    with pytest.raises(RuntimeRefused, match=words):
        refuse_unsafe(model().SerializeToString())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got none"),
        (pickle.dumps(print), "something else|got none"),
        (b"PK\x03\x04" + bytes(90), "something else"),
    ],
)
def test_what_is_no_graph(content: bytes, words: str) -> None:
    with pytest.raises(RuntimeRefused, match=words):
        refuse_unsafe(content)


def test_a_half_of_a_file_is_refused() -> None:
    with pytest.raises(RuntimeRefused):
        refuse_unsafe(control_file()[:5000])


def test_nodes_are_counted_within_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.runtimes.onnx.strangers, "MOST_NODES", 3)
    refuse_unsafe(model_of(within(IDENTITY)).SerializeToString())
    with pytest.raises(RuntimeRefused, match="at most 3 nodes, got 4"):
        refuse_unsafe(model_of(within(IDENTITY, IDENTITY)).SerializeToString())
