"""The control network: timed beside every candidate, to see the machine drift."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nas.runtimes.runtime import CONTROL_SHAPE


@cache
def control_file() -> bytes:
    """A fixed float network, 16 channels on 16x16: what is timed beside every candidate to see the machine drift."""
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32)
    conv = helper.make_node("Conv", ["image", "weight"], ["logits"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    value = helper.make_tensor_value_info
    shape = list(CONTROL_SHAPE)
    graph = helper.make_graph(
        [conv],
        "control",
        [value("image", TensorProto.FLOAT, shape)],
        [value("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data: bytes = onnx.ModelProto.SerializeToString(model)
    return data
