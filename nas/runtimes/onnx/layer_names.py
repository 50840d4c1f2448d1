"""By what names a layer is found again in its file; read where there is no torch, too."""

from __future__ import annotations

from pathlib import Path

import onnx

WEIGHT_SCALE = ".weight_scale"  # behind the layer's name: the scales of its weights


def layer_outputs(file: Path) -> list[tuple[str, str]]:
    """Name and output of every named node: the layers, each once."""
    nodes = onnx.load(file, load_external_data=False).graph.node
    return [(node.name, node.output[0]) for node in nodes if node.name]
