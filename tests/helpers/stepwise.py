"""A file against torch, operation by operation: what torch makes of the very codes that the runtime computes with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, fx

from compressors.quantization.activations import ActivationQuantizer
from nas.runtimes.onnx.maps import pooled_maps
from nas.runtimes.onnx.model import graph_of, model_of
from nas.runtimes.onnx.nodes import write_node
from nas.runtimes.onnx.writer import Writer
from nas.runtimes.onnxruntime import Runner
from nas.runtimes.runtime import FileHeader
from nas.study import Target

CPU = Target(name="cpu")


def largest_step(prepared: fx.GraphModule, header: FileHeader, images: Tensor) -> tuple[float, float]:
    """How many codes any tensor of the file is from what torch makes of the runtime's codes before it; and by what
    share of their range the logits differ.

    Where the file is right, no operation is more than one code off, at ties; what that becomes in a deep network of
    random weights says nothing.
    """
    writer = Writer(dict(prepared.named_modules()), maps=pooled_maps(prepared, header))
    for node in prepared.graph.nodes:
        write_node(writer, node)
    model = model_of(graph_of(writer.nodes, writer.weights, header), header, writer.functions)
    dequantizers = {node.output[0]: node for node in model.graph.node}
    codes = {
        node: dequantizers[value].input[0]
        for node, value in writer.values.items()
        if node.op == "call_module" and isinstance(writer.modules[str(node.target)], ActivationQuantizer)
    }
    signed = any(writer.modules[str(node.target)].scheme.signed for node in codes)
    for name in dict.fromkeys(codes.values()):
        kind = TensorProto.INT8 if signed else TensorProto.UINT8
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = ["logits", *dict.fromkeys(codes.values())]
    found = dict(zip(names, session.run(names, {"image": images.numpy()}), strict=True))
    run = _Replayed(prepared, {node: found[name] for node, name in codes.items()})
    with torch.no_grad():
        logits = run.run(images).numpy()
    return run.largest, float(np.abs(logits - found["logits"]).max() / np.ptp(found["logits"]))


class _Replayed(fx.Interpreter):
    """Runs torch's network, and puts the runtime's codes in the place of each tensor that it has rounded."""

    def __init__(self, network: fx.GraphModule, codes: Mapping[fx.Node, np.ndarray[Any, Any]]) -> None:
        super().__init__(network)
        self.codes, self.largest = codes, 0.0

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n not in self.codes:
            return value
        scale, zero_point = self.fetch_attr(str(n.target)).grid()
        theirs = (torch.from_numpy(self.codes[n].astype(np.float32)) - zero_point) * torch.tensor(scale)
        self.largest = max(self.largest, float(((value - theirs) / scale).abs().max()))
        return theirs


def kernels(model: onnx.ModelProto) -> list[str]:
    """Operations of ONNX Runtime's optimized graph."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        Runner(model.SerializeToString(), CPU, optimized=optimized)
        return [node.op_type for node in onnx.load(optimized).graph.node]
