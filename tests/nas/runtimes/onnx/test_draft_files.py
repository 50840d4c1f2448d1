"""Files of random networks: they compute what the networks do, and every layer that is asked to on integers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drafts import drafts, needed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stepwise import CPU, largest_step
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.quantization import calibrate, prepare
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnxruntime import integer_layers
from nas.runtimes.runtime import FileHeader
from search_spaces.blocks import Normalize
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.parts import layers_of

torch.set_num_threads(1)

SIZE, CLASSES = 8, tuple("abcde")
FORMATS = (("int8",), ("int8", "int4"), ("fp32", "int8"), ("fp32", "int8", "int2"))


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def built(blueprint: Blueprint, images: Tensor) -> nn.Module:
    """With the statistics of images."""
    torch.manual_seed(0)
    network = ExistingNetwork(blueprint, len(CLASSES), normalize=Normalize(0.5, 0.25)).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(images)
    return network.eval()


@given(drafted=drafts(), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_networks(drafted: Blueprint, seed: int, tmp_path: Path) -> None:
    blueprint, choose = needed(drafted), random.Random(seed)
    images = torch.rand(8, blueprint.input_channels, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    network, formats = built(blueprint, images), choose.choice(FORMATS)
    layers = layers_of(blueprint, SIZE, num_classes=len(CLASSES))
    asked = {layer.name: choose.choice(formats) for layer in layers if not layer.runs_again}
    assert {layer.name for layer in layers} == set(named_layers(fold_batch_norm(network)))
    prepared = prepare(network, asked)
    calibrate(prepared, [images])
    header = FileHeader(blueprint.input_channels, SIZE, CLASSES)
    codes, logits = largest_step(prepared, header, images)
    assert codes < 1.01
    assert logits < 1e-4
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(prepared, header).SerializeToString())
    assert integer_layers(file, CPU) == {name for name, fmt in asked.items() if fmt != "fp32"}


def named_layers(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
