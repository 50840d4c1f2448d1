"""int8 against fp32 of the same networks, and against ONNX Runtime's own quantization of them, family by family.

    python studies/benchmarks/int8_speed.py --json studies/results/int8-speed.json

The networks are the middle and the largest of each space (ReLU, no squeeze-excite), untrained, with ranges from random
images: latency and size depend on structure alone. All files of a network are timed in turn, 12 blocks of 25 calls, and
the minimum counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compressors.folding import fold_batch_norm
from compressors.quantization.activations import observe
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import refresh_scales
from nas.measuring.turns import exclusive
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.stock import quantize_stock
from nas.runtimes.onnxruntime import Runner
from nas.runtimes.runtime import FileHeader
from nas.study import Target
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import ShuffleConfig
from search_spaces.network import build_network
from search_spaces.spaces import MixedSpace, MobileSpace, ShuffleSpace, Space
from search_spaces.trials import Pick, last, middle

BLOCKS, CALLS, CLASSES = 12, 25, 10
TARGET = Target(name="cpu")


def spaces(preset: str) -> dict[str, Space]:
    """By name; depthwise kernels apart, for the runtime has fast integer code for 3x3 only."""
    found: dict[str, Space] = {}
    for kernel in (3, 5):
        plain = {"preset": preset, "activations": ("relu",), "kernels": (kernel,)}
        found[f"mobile {kernel}x{kernel}"] = MobileSpace.model_validate({**plain, "squeeze_excite": (False,)})
        found[f"shuffle {kernel}x{kernel}"] = ShuffleSpace.model_validate({**plain, "family": "shuffle"})
    mixed = MixedSpace.model_validate({"family": "mixed", "preset": preset})
    of_kind = dict(zip(mixed.blocks, mixed.of_one_kind(), strict=True))
    return {**found, "residual": of_kind["residual"], "fused": of_kind["fused_inverted_residual"]}


def networks() -> Iterator[tuple[str, Architecture]]:
    yield "ShuffleNetV2 x1.0 32px", shufflenet_v2(32, 1)
    yield "ShuffleNetV2 x1.0 96px", shufflenet_v2(96, 2)
    for preset in ("32px", "96px"):
        for family, space in spaces(preset).items():
            for size, pick in (("middle", middle), ("largest", last)):
                yield f"{family} {preset} {size}", space.sample(Pick(pick), input_channels=3)


def shufflenet_v2(input_size: int, stride: Literal[1, 2]) -> Architecture:
    """Widths and depths of arXiv:1807.11164, table 5, on the grid of 8; no pooling behind the stem."""
    unit = ShuffleConfig(kind="shuffle", kernel=3)
    stages = tuple(
        StageConfig(width=width, stride=2, blocks=(unit,) * depth) for width, depth in ((120, 4), (232, 8), (464, 4))
    )
    stem, head = StemConfig(width=24, stride=stride), HeadConfig(width=1024)
    return Architecture(input_size=input_size, input_channels=3, stem=stem, stages=stages, head=head)


def files_of(architecture: Architecture, folder: Path) -> dict[str, Path]:
    """The network as fp32, as our int8 file and as `quantize_static` makes it."""
    network = build_network(architecture, CLASSES, seed=0).eval()
    size = architecture.input_size
    header = FileHeader(3, size, tuple(map(str, range(CLASSES))))
    images = torch.rand(32, 3, size, size, generator=torch.Generator().manual_seed(0))
    files = {name: folder / f"{name}.onnx" for name in ("fp32", "int8", "static")}
    files["fp32"].write_bytes(emit(fold_batch_norm(network), header).SerializeToString())
    quantized = prepare(network, dict.fromkeys((layer.name for layer in architecture.layers(CLASSES)), "int8")).eval()
    with torch.no_grad():
        for _ in range(2):
            observe(quantized, True)
            quantized(images)
            observe(quantized, False)
            refresh_scales(quantized)
    files["int8"].write_bytes(emit(quantized, header).SerializeToString())
    quantize_stock(files["fp32"], files["static"], images.numpy())
    return files


def timed(files: dict[str, Path], size: int) -> dict[str, float]:
    """Least microseconds of every file, timed in turn."""
    image = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    runners = {name: Runner(file, TARGET) for name, file in files.items()}
    least = dict.fromkeys(runners, float("inf"))
    with exclusive():
        for _ in range(BLOCKS):
            for name, runner in runners.items():
                least[name] = min(least[name], *runner.time_us(image, CALLS))
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    table = Table(title="int8 against fp32 and against quantize_static, batch 1, one thread")
    for column in ("network", "fp32 us", "int8 us", "speed-up", "static us", "ours / static", "bytes", "ours / static"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, architecture in networks():
        with tempfile.TemporaryDirectory() as folder:
            files = files_of(architecture, Path(folder))
            us, size = timed(files, architecture.input_size), {k: f.stat().st_size for k, f in files.items()}
        rows.append({"network": name, "microseconds": us, "bytes": size})
        table.add_row(
            name, f"{us['fp32']:.0f}", f"{us['int8']:.0f}", f"{us['fp32'] / us['int8']:.2f}", f"{us['static']:.0f}",
            f"{us['int8'] / us['static']:.2f}", f"{size['int8']:,}", f"{size['int8'] / size['static']:.2f}",
        )  # fmt: skip
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
