"""A small network in floats or integers, with images, for tests of files and of what runs them."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from compressors.plan import WeightFormat
from compressors.quantization import calibrate, prepare
from nas.data import Images
from nas.runtimes.runtime import Array, FileHeader
from nas.study import Target
from nas.training.augmentation import Feed
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

CPU = Target(name="cpu")
CLASSES = tuple("abcdefghij")
HEADER = FileHeader(1, 8, CLASSES)
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True),)),
        StageConfig(width=16, stride=2, blocks=(InvertedResidualConfig(kernel=5, expansion=2, activation="relu6"),)),
    ),
    head=HeadConfig(width=16),
)
LAYERS = tuple(layer.name for layer in ARCHITECTURE.layers(len(CLASSES)))
MIXED: dict[str, WeightFormat] = dict.fromkeys(LAYERS[:4], "int8") | dict.fromkeys(LAYERS[6:9], "int4")


def pixels(count: int = 32) -> Array:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def quantized(formats: dict[str, WeightFormat]) -> fx.GraphModule:
    whole = build_network(ARCHITECTURE, len(CLASSES), seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in whole.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 1, generator=generator)
    network = prepare(whole, formats)
    images = Images(pixels(), np.zeros(32, np.int64))
    calibrate(network, Feed.of(images, torch.device("cpu"), batch_size=32, seed=0).plain(8))
    return network
