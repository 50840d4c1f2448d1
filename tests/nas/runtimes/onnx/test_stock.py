"""What ONNX Runtime's own tool makes of a float32 file of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from by_hand import make_study
from torch import nn

from compressors.pipeline import folded
from nas.candidates.baseline import baseline_candidate
from nas.runtimes.onnx.stock import BATCH, quantize_stock
from nas.runtimes.onnxruntime import ONNXRUNTIME
from nas.runtimes.runtime import FileHeader
from nas.study import Target
from search_spaces.network import build_network

TARGET = Target(name="cpu")
IMAGES = np.random.default_rng(0).random((BATCH + 5, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The baseline of grey 8-pixel images in float32, and quantized on two batches."""
    folder = tmp_path_factory.mktemp("stock")
    network: nn.Module = build_network(
        baseline_candidate(make_study()).architecture, 10, mean=0.5, std=0.3, seed=0, dropout=0.0
    ).eval()
    with torch.no_grad():
        network.train()(torch.from_numpy(IMAGES))
        network.eval()
    names = tuple(f"class {i}" for i in range(10))
    plain, quantized = folder / "model.onnx", folder / "int8.onnx"
    plain.write_bytes(ONNXRUNTIME.emit(folded(network, ()), FileHeader(1, 8, names)))
    quantize_stock(plain, quantized, IMAGES)
    return plain, quantized


def test_every_layer_runs_in_integers_on_weights_of_a_byte(files: tuple[Path, Path]) -> None:
    plain, quantized = files
    layers = {"stem.conv", "stage1.block1.conv", "stage2.block1.conv", "classifier"}
    assert ONNXRUNTIME.integer_layers(plain, TARGET) == frozenset()
    assert ONNXRUNTIME.integer_layers(quantized, TARGET) == layers
    weights = sum(
        np.prod(tensor.dims) for tensor in onnx.load(quantized).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    )  # fmt: skip
    assert weights == 9 * 32 + 9 * 32 * 64 + 9 * 64 * 64 + 64 * 10


def test_costs_are_counted_as_those_of_our_own_files(files: tuple[Path, Path]) -> None:
    plain, quantized = map(ONNXRUNTIME.costs, files)
    assert (quantized.parameters, quantized.macs) == (plain.parameters, plain.macs)
    assert quantized.peak_memory_bytes < plain.peak_memory_bytes / 2
    assert files[1].stat().st_size < files[0].stat().st_size / 2


def test_it_answers_nearly_as_the_float_file_does(files: tuple[Path, Path]) -> None:
    plain, quantized = (ONNXRUNTIME.open(file, TARGET).predict(IMAGES) for file in files)
    assert not np.array_equal(plain, quantized)
    assert np.abs(plain - quantized).max() < 0.1 * np.ptp(plain)


def test_what_the_file_says_of_itself_is_kept(files: tuple[Path, Path]) -> None:
    assert (
        ONNXRUNTIME.class_names(files[1]) == ONNXRUNTIME.class_names(files[0]) == tuple(f"class {i}" for i in range(10))
    )
    assert not list(files[1].parent.glob("*prepared*"))
