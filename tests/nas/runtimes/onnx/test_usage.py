"""What the user of an ONNX file is told."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from nas.data.decoding import Form
from nas.runtimes.onnx.usage import class_names, usage_of

NAMES = ("zero", "one", "two")


def test_names_come_from_the_shipped_file(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["x2"])], "g", [value], []))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    assert class_names(path) == ()
    helper.set_model_props(model, {"class_names": json.dumps(list(NAMES))})
    onnx.save(model, path)
    assert class_names(path) == NAMES
    path.write_bytes(b"no onnx")
    assert class_names(path) == ()
    assert class_names(tmp_path / "gone.onnx") == ()


def test_usage_names_the_file_and_the_oldest_engine_that_runs_it(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["x2"])], "g", [value], [])
    for opset, needs in ((21, "onnxruntime 1.19 or later (it is of opset 21)"), (17, "onnxruntime")):
        path = tmp_path / f"opset{opset}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
        usage = usage_of(path, Form(3, 32))
        assert usage.needs == needs
        assert f'with_name("{path.name}")' in usage.program
