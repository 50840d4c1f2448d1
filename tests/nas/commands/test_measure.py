"""`nas measure` on files of ours and of others: counts by hand, and one clear message for what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import nas.measuring.latency
from nas.commands.measure import as_json, as_table, image_input, measure_model, read_model, size_of
from nas.errors import InputError
from nas.measuring.latency import PROTOCOL


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 2)
    monkeypatch.setattr(nas.measuring.latency, "MAX_PASSES", 2)


def foreign(path: Path, shape: tuple[int | str, ...] = ("N", 3, 8, 8), kind: int = TensorProto.FLOAT) -> Path:
    """A convolution, 3 to 4 channels of 3x3, its weight a Constant node as some exporters write it, then two means."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Constant", [], ["weight"], value=weight),
        helper.make_node("Conv", ["pixels", "weight"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["y"], ["left", "right"], axis=1, num_outputs=2),
        helper.make_node("Add", ["left", "right"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info("pixels", kind, shape)]
    outputs = [helper.make_tensor_value_info("out", kind, None)]
    graph = helper.make_graph(nodes, "foreign", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("shape", [("N", 3, 8, 8), (2, 3, 8, 8)])
def test_a_foreign_file(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    file = foreign(tmp_path / "x.onnx", shape)
    measured = measure_model(file, threads=1, batch=2)
    assert (measured.input_name, measured.input_shape) == ("pixels", shape)
    assert measured.size_bytes == file.stat().st_size
    assert measured.costs.parameters == 4 * 3 * 9
    assert measured.costs.macs == 8 * 8 * 4 * 3 * 9  # of one image, also where the batch is fixed
    assert measured.latency.latency_ms > 0
    said = json.loads(as_json(measured))
    assert said["protocol"] == PROTOCOL
    assert (said["fingerprint"]["threads"], said["fingerprint"]["batch"]) == (1, 2)
    assert said["latency_ms"] == measured.latency.latency_ms
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table(measured))
    for words in ("108", PROTOCOL, "batch 2", f"{measured.latency.latency_ms:.4f} ms"):
        assert words in shown.get()


def test_memory_counts_all_outputs_of_a_split(tmp_path: Path) -> None:
    measured = measure_model(foreign(tmp_path / "x.onnx"), threads=1, batch=1)
    assert measured.costs.peak_memory_bytes == 2 * 4 * 8 * 8 * 4  # the convolution's result and its two halves


def test_weights_beside_the_file_count(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["image", "w"], ["y"], kernel_shape=[3, 3])
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("image", 1, [1, 3, 8, 8])], [value("y", 1, [1, 4, 6, 6])], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=0)
    measured = measure_model(tmp_path / "x.onnx", threads=1, batch=1)
    assert measured.size_bytes == size_of(tmp_path / "x.onnx") == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert measured.costs.parameters == 108
    (tmp_path / "x.data").unlink()
    with pytest.raises(InputError, match=r"x\.data"):
        measure_model(tmp_path / "x.onnx", threads=1, batch=1)


def test_a_batch_the_file_does_not_take(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.onnx", (2, 3, 8, 8))
    with pytest.raises(InputError, match=r"--batch: expected 2, which .*x.onnx is fixed to, got 1"):
        measure_model(file, threads=1, batch=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": TensorProto.DOUBLE}, r"'pixels', double \(N, 3, 8, 8\)"),
        ({"shape": ("N", 3, "H", "W")}, r"'pixels', float \(N, 3, H, W\)"),
        ({"shape": ("N", 192)}, r"'pixels', float \(N, 192\)"),
    ],
)
def test_unsupported_inputs(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    file = foreign(tmp_path / "x.onnx", **options)
    with pytest.raises(InputError, match=rf"expected an input of float32 images.*got {expected}"):
        image_input(read_model(file), file)


def test_two_inputs(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "x.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    with pytest.raises(InputError, match=r"expected one input, got 2 \(pixels, mask\)"):
        image_input(model, tmp_path)


def test_an_operation_the_runtime_lacks(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "x.onnx"))
    model.graph.node[3].op_type = "Fly"
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"x.onnx: ONNX Runtime cannot run it: .*Fly"):
        measure_model(tmp_path / "x.onnx", threads=1, batch=1)


def test_shapes_that_are_not_known(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "x.onnx"))
    model.graph.node.append(helper.make_node("NonZero", ["out"], ["where"]))
    model.graph.node.append(helper.make_node("Cast", ["where"], ["last"], to=TensorProto.FLOAT))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("last", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "x.onnx")
    measured = measure_model(tmp_path / "x.onnx", threads=1, batch=1)
    assert (measured.costs.parameters, measured.costs.macs) == (108, 108 * 64)
    assert measured.note == "unknown: shapes are not known throughout ('where')"
    said = json.loads(as_json(measured))
    assert said["peak_memory_bytes"] is None
    assert said["note"] == measured.note
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table(measured))
    assert "peak memory  unknown" in shown.get()
    assert said["latency_ms"] > 0
    assert said["size_bytes"] == (tmp_path / "x.onnx").stat().st_size


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x0a"])
def test_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"x.onnx: expected an ONNX file"):
        measure_model(tmp_path / "x.onnx", threads=1, batch=1)


def test_no_such_file(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "x.onnx", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"cannot be read: {why}"):
            measure_model(path, threads=1, batch=1)
