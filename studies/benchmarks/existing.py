"""An existing network at half its MACs and in int8: this project beside the usual tools, on the same trained weights.

    COMPACT_NAS_DATA=FOLDER python studies/benchmarks/existing.py --folder runs/existing \
        --json studies/results/existing.json

torchvision's ResNet-18 with its stock stem at 32 pixels (37 M MACs) is trained on 10 000 images of CIFAR-10, which lies
in FOLDER/cifar10 as images (train/<class>/*.jpg, test/<class>/*.jpg). Three ways go on from these weights; the first
needs torch-pruning to be installed:

* torch-pruning: its own pruner of least norms down to half the MACs; the network that it leaves is fine-tuned and
  quantized by this project's recipe;
* ours: channels of least norm removed down to no more MACs than these, fine-tuned and quantized in the same way;
* quantize_static: ONNX Runtime's own quantization of the unpruned network, which is not trained any further.

The accuracy of every file is also counted by a few lines of onnxruntime over the pictures as they lie in the folder; a
difference from the recorded one ends the script. A stopped run goes on where it was. 25 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.api import Compressed, compress
from nas.candidates.candidate import Candidate
from nas.compression.folder import ResultFolder
from nas.data import load
from nas.measuring.costs import measure_files
from nas.measuring.scoring import as_float
from nas.runtimes.onnx.stock import quantize_stock

SIZE, CLASSES = 32, 10
CALIBRATION_IMAGES = 512
MOST_OTHERWISE = 3  # pictures that a file may answer otherwise one by one than in batches: two logits nearly alike
GRID = 8  # widths are multiples of it, in both tools


@dataclass(frozen=True)
class Row:
    """A file's figures; `accuracy` is that of the test split as it was counted by onnxruntime alone."""

    name: str
    accuracy: float
    macs: int
    parameters: int
    size_bytes: int
    latency_ms: float | None


def macs_of(network: nn.Module) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image, counted while it runs."""
    found: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor], out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        found.append(layer.weight.numel() * out[0, 0].numel())

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return sum(found)


def pruned_by_torch_pruning(network: nn.Module, most_macs: float) -> nn.Module:
    """The largest network that torch-pruning leaves below a number of MACs: one ratio for all, least norms go."""
    least, most = 0.0, 0.9
    for _ in range(10):
        ratio = (least + most) / 2
        if macs_of(_pruned(network, ratio)) > most_macs:
            least = ratio
        else:
            most = ratio
    return _pruned(network, most)


def _pruned(network: nn.Module, ratio: float) -> nn.Module:
    import torch_pruning

    network = copy.deepcopy(network).eval()
    pruner = torch_pruning.pruner.BasePruner(
        network,
        torch.zeros(1, 3, SIZE, SIZE),
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        pruning_ratio_dict={},  # its default is one dictionary that all pruners share
        ignored_layers=[layer for layer in network.modules() if isinstance(layer, nn.Linear)],
        round_to=GRID,
    )
    pruner.step()
    return network


def counted(file: Path, pictures: Sequence[tuple[Path, int]]) -> float:
    """The share of pictures that a file gets right, by onnxruntime and nothing else of this project."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    right = 0
    for picture, label in pictures:
        pixels = np.asarray(Image.open(picture).convert("RGB"), dtype=np.float32) / 255
        (logits,) = session.run(None, {"image": pixels.transpose(2, 0, 1)[None]})
        right += int(logits[0].argmax()) == label
    return right / len(pictures)


def test_pictures(folder: Path) -> list[tuple[Path, int]]:
    """Every picture of the test split with the number of its class, in the order of their names."""
    classes = sorted(path.name for path in (folder / "test").iterdir() if path.is_dir())
    return [(file, label) for label, name in enumerate(classes) for file in sorted((folder / "test" / name).iterdir())]


def row_of(name: str, figures: Mapping[str, float | None], file: Path, pictures: Sequence[tuple[Path, int]]) -> Row:
    """Raises ValueError where the recorded accuracy is not the one that is counted."""
    found, recorded = counted(file, pictures), figures["test_accuracy"]
    if recorded is None or abs(found - recorded) > MOST_OTHERWISE / len(pictures):
        raise ValueError(f"{name}: expected the recorded test accuracy {recorded}, counted {found}")
    costs = {cost: int(figures[cost] or 0) for cost in ("macs", "parameters", "size_bytes")}
    return Row(name, found, latency_ms=figures["latency_ms"], **costs)


def stock_row(whole: Compressed, out: Path, pictures: Sequence[tuple[Path, int]]) -> Row:
    """The unpruned float32 file as ONNX Runtime quantizes it, calibrated on training images."""
    study = whole.study
    images = load(study.data, input_size=SIZE, seed=study.search.seed).train
    chosen = np.sort(np.random.default_rng(0).choice(len(images), min(CALIBRATION_IMAGES, len(images)), replace=False))
    quantize_stock(file_before(whole), out, as_float(images.take(chosen).images))
    measured = measure_files({study.target.name: out}, study.targets, origin="shipped file")
    costs = measured.costs(study.target.name)
    return row_of("quantize_static, unpruned", {**costs, "test_accuracy": counted(out, pictures)}, out, pictures)


def file_before(result: Compressed) -> Path:
    """The file of the network as it was."""
    whole = Candidate(architecture=result.candidate.architecture)
    folder = ResultFolder(result.folder).work.artifact(whole.id, "final", result.study.search.seed)
    return folder / result.path.name


def compared(data: Mapping[str, Any], folder: Path, pictures: Sequence[tuple[Path, int]], epochs: int) -> list[Row]:
    """The rows of the table; all networks begin with the weights that the first call trains."""
    from torchvision import models

    untrained = models.resnet18(num_classes=CLASSES)
    # Widths are multiples of 8 in both, so that MACs come in steps: ours are to be no more than those of the other.
    macs = macs_of(pruned_by_torch_pruning(untrained, macs_of(untrained) / 2))
    base = {"base": "torchvision.resnet18", "stem": "keep", "input_size": SIZE, "width_grid": GRID}

    def in_int8(network: nn.Module | Mapping[str, Any], name: str, limits: Mapping[str, float] | None) -> Compressed:
        place = folder / name
        return compress(network, data, weight_format="int8", limits=limits, epochs=epochs, folder=place, progress=True)

    ours = in_int8(base, "ours", {"macs": macs})
    trained = models.resnet18(num_classes=CLASSES)
    trained.load_state_dict(load_file(ResultFolder(ours.folder).whole))
    half = pruned_by_torch_pruning(trained, macs)
    theirs = in_int8(half, "torch-pruning", None)
    return [
        row_of("as it was, float32", ours.before, file_before(ours), pictures),
        stock_row(ours, folder / "quantize_static.onnx", pictures),
        row_of("torch-pruning, then int8", theirs.after, theirs.path, pictures),
        row_of("half the MACs and int8", ours.after, ours.path, pictures),
    ]


def table_of(rows: Sequence[Row]) -> Table:
    table = Table(title=f"ResNet-18 at {SIZE} pixels")
    for column in ("network", "test accuracy (%)", "M MACs", "parameters", "KB", "ms"):
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for row in rows:
        latency = "-" if row.latency_ms is None else f"{row.latency_ms:.3f}"
        costs = f"{row.macs / 1e6:.1f}", f"{row.parameters:,}", f"{row.size_bytes / 1e3:,.0f}", latency
        table.add_row(row.name, f"{100 * row.accuracy:.2f}", *costs)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="by default $COMPACT_NAS_DATA/cifar10")
    parser.add_argument("--folder", type=Path, default=Path("runs/existing"), help="networks and their trainings")
    parser.add_argument("--images", type=int, default=10_000, help="of training")
    parser.add_argument("--epochs", type=int, default=20, help="of the training, and of each that goes on from it")
    parser.add_argument("--json", type=Path, help="file for the rows of the table")
    options = parser.parse_args()
    place: Path = options.data or Path(os.environ["COMPACT_NAS_DATA"]) / "cifar10"
    pictures = test_pictures(place)
    data = {"source": "image_folder", "path": str(place), "train_images": options.images}
    rows = compared(data, options.folder, pictures, options.epochs)
    Console(width=110).print(table_of(rows))
    if options.json:
        told = {
            "images": options.images,
            "epochs": options.epochs,
            "processor": platform.processor() or platform.machine(),
        }
        options.json.write_text(json.dumps({**told, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
