"""The benchmark of existing networks: what it counts by itself is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from PIL import Image
from torch import nn

MACS = {"conv": 8 * 3 * 9 * 16 * 16, "linear": 8 * 10}


def test_macs_are_counted_while_a_network_runs(benchmark: Callable[[str], ModuleType]) -> None:
    existing = benchmark("existing")
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert existing.macs_of(network) == sum(MACS.values())
    assert not network[0]._forward_hooks


def test_pictures_are_counted_by_the_class_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: Callable[[str], ModuleType]
) -> None:
    """A file whose answer is the brightest channel gets red and green right, and blue wrong that lies among the red."""
    existing = benchmark("existing")
    for name, colour in (("0-red", 0), ("1-green", 1), ("0-red", 2)):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[..., colour] = 255
        (tmp_path / "test" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "test" / name / f"{colour}.png")
    pictures = existing.test_pictures(tmp_path)
    assert [(file.name, label) for file, label in pictures] == [("0.png", 0), ("2.png", 0), ("1.png", 1)]
    file = tmp_path / "model.onnx"
    save_mean(file)
    assert existing.counted(file, pictures) == pytest.approx(2 / 3)
    figures = {"macs": 1, "parameters": 2, "size_bytes": 3, "latency_ms": None, "test_accuracy": 2 / 3}
    assert existing.row_of("it", figures, file, pictures) == existing.Row("it", 2 / 3, 1, 2, 3, None)
    monkeypatch.setattr(existing, "MOST_OTHERWISE", 0)
    with pytest.raises(ValueError, match=r"it: expected the recorded test accuracy 0\.5, counted 0\.66"):
        existing.row_of("it", {**figures, "test_accuracy": 0.5}, file, pictures)


def save_mean(file: Path) -> None:
    """A file whose logits are the mean of each channel."""
    names = ("GlobalAveragePool", "image", "pooled"), ("Flatten", "pooled", "logits")
    nodes = [helper.make_node(op, [read], [written]) for op, read, written in names]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "mean", [image], [logits])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
