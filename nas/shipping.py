"""From a trained network to a checked and measured file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, fx, nn

from compressors.quantization import QuantizedConv2d, QuantizedLinear
from nas.candidate import Candidate
from nas.data import Images
from nas.latency import measure
from nas.metrics import score_logits
from nas.records import LayerReport, Measurement, Parity, Score
from nas.run_folder import write_atomically
from nas.runtimes.onnx_costs import read_costs
from nas.runtimes.onnx_file import FileHeader, emit, emit_or_export
from nas.runtimes.onnx_runtime import Array, Runner, integer_layers
from nas.study import Target
from nas.training import predict
from nas.workbench import Workbench

PARITY_IMAGES = 512
TRAIN_IMAGES = 1000
GRID_STEPS, FLOAT_TOLERANCE = 3, 0.01


class ParityBroken(RuntimeError):
    """The runtime's accuracy is more than a point away from the network's."""


def ship(network: nn.Module, candidate: Candidate, folder: Path, header: FileHeader) -> Path:
    """Write model.onnx, weights.safetensors and candidate.json; returns the model's path."""
    quantized = bool(candidate.plan.formats)
    model = (
        emit(network, header) if quantized and isinstance(network, fx.GraphModule) else emit_or_export(network, header)
    )
    file = folder / "model.onnx"
    write_atomically(file, model.SerializeToString())
    write_atomically(folder / "candidate.json", json.dumps(candidate.to_json(), indent=1))
    weights = folder / ".weights.safetensors.tmp"
    save_file(stored_weights(network), weights)
    weights.replace(folder / "weights.safetensors")
    return file


def stored_weights(network: nn.Module) -> dict[str, Tensor]:
    """Integer codes, scales and biases by layer name, so that another runtime's file needs no training."""
    stored: dict[str, Tensor] = {}
    trained_copies = set()
    for name, module in network.named_modules():
        if isinstance(module, QuantizedConv2d | QuantizedLinear):
            trained_copies.add(f"{name}.layer")
            packed = module.packed()
            stored[f"{name}.codes"], stored[f"{name}.scales"] = packed.codes, packed.scales
            stored[f"{name}.bias_codes"] = packed.bias_codes
            stored[f"{name}.input_scale"] = torch.tensor(packed.input_scale)
        elif not any(True for _ in module.children()) and name not in trained_copies:
            own = {
                **dict(module.named_parameters(recurse=False)),
                **dict(module.named_buffers(recurse=False)),
            }
            stored |= {f"{name}.{key}": value.detach().cpu().contiguous() for key, value in own.items()}
    return stored


def measure_file(
    file: Path, targets: Sequence[Target], *, origin: Literal["untrained file", "shipped file"]
) -> Measurement:
    """All costs, read off the file."""
    costs = read_costs(onnx.load(file))
    return Measurement(
        origin=origin,
        parameters=costs.parameters,
        macs=costs.macs,
        size_bytes=file.stat().st_size,
        peak_memory_bytes=costs.peak_memory_bytes,
        latency={target.name: measure(file, target) for target in targets},
    )


def check(file: Path, network: nn.Module, candidate: Candidate, bench: Workbench) -> dict[str, Any]:
    """Which layers run as integers, and whether the runtime computes what the network does.

    Raises ParityBroken where their accuracies differ by more than a point, and more than one image.
    """
    ran = integer_layers(file, bench.study.target)
    asked = tuple(candidate.plan.formats)
    images = bench.data.validation.spread(PARITY_IMAGES)
    reference = predict(network, torch.from_numpy(images.images)).numpy()
    shipped = Runner(file, bench.study.target).predict(as_float(images.images))
    parity = compare(reference, shipped, images.labels, integer_head="classifier" in candidate.plan.formats)
    if parity.is_broken:
        raise ParityBroken(f"accuracy in runtime and torch differ by {parity.accuracy_difference:.1%}")
    return {
        "asked_integer": asked,
        "ran_integer": tuple(name for name in asked if name in ran),
        "parity": parity,
        "layers": layer_reports(candidate, len(bench.data.class_names), ran),
        "flags": () if parity.holds else ("parity",),
    }


def compare(reference: Array, shipped: Array, labels: Array, *, integer_head: bool) -> Parity:
    """Agreement of two sets of logits (N, classes).

    The tolerance is three steps of an 8-bit grid over the logits' range, or 1 % of it after a float head. A
    disagreement counts as clear where the reference's margin exceeds twice the tolerance: differences within it cannot
    turn such a margin over.
    """
    span = float(reference.max() - reference.min()) or 1.0
    tolerance = span * (GRID_STEPS / 255 if integer_head else FLOAT_TOLERANCE)
    difference = np.abs(reference - shipped)
    first, second = reference.argmax(1), shipped.argmax(1)
    top = np.sort(reference, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * tolerance
    right = [float((guess == labels).mean()) for guess in (first, second)]
    return Parity(
        images=len(labels),
        max_difference=float(difference.max()),
        tolerance=tolerance,
        within_tolerance=float((difference <= tolerance).mean()),
        argmax_agreement=float((first == second).mean()),
        clear_margin_disagreements=int(((first != second) & clear).sum()),
        accuracy_difference=abs(right[0] - right[1]),
    )


def layer_reports(candidate: Candidate, num_classes: int, ran: frozenset[str]) -> tuple[LayerReport, ...]:
    """Every layer as shipped."""
    full = {layer.name: layer.out_channels for layer in candidate.architecture.layers(num_classes)}
    return tuple(
        LayerReport(
            name=layer.name,
            block=layer.block,
            kind=layer.kind,
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel=layer.kernel,
            parameters=layer.parameters,
            macs=layer.macs,
            format=candidate.plan.format_of(layer.name),
            ran="integer" if layer.name in ran else "float",
            unpruned_channels=full[layer.name],
        )
        for layer in candidate.layers(num_classes)
    )


def score_file(
    file: Path, bench: Workbench, *, test: bool, give_way: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Accuracies of the file in the runtime: validation, a sample of train, and test where it may be read.

    `give_way` is called before every batch.
    """
    runner = Runner(file, bench.study.target)
    sample = bench.data.train.spread(TRAIN_IMAGES)
    return {
        "validation": accuracy(runner, bench.data.validation, give_way),
        "train_accuracy": accuracy(runner, sample, give_way).accuracy,
        "test": accuracy(runner, bench.data.load_test(), give_way) if test else None,
    }


def accuracy(runner: Runner, images: Images, give_way: Callable[[], None] = lambda: None) -> Score:
    """Every metric of the file's logits, read off the runtime."""
    logits: list[Array] = []
    for start in range(0, len(images), 512):
        give_way()
        logits.append(runner.predict(as_float(images.images[start : start + 512])))
    return score_logits(np.concatenate(logits), images.labels)


def as_float(images: Array) -> Array:
    """uint8 to float32 in [0, 1]: what a file's input expects."""
    return images.astype(np.float32) / np.float32(255)
