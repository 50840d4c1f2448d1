"""From a trained network to its files; whether runtimes agree with torch on them, and how accurate they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compressors.quantization.modules import QuantizedLayer
from compressors.quantization.simulated import is_simulated, with_8_bits
from nas.candidates.candidate import Candidate
from nas.files import write_atomically
from nas.measuring import parity
from nas.measuring.scoring import Predicts, score_runner
from nas.records import Scores, Verification
from nas.runtimes.runtime import Array, FileHeader, file_names, opened_here, runtime_of
from nas.study import Target
from nas.training.inference import PREDICTED, predict
from nas.workbench import Workbench

PARITY_IMAGES, TRAIN_IMAGES = 512, 1000


def ship(
    network: nn.Module, candidate: Candidate, folder: Path, *, header: FileHeader, targets: Sequence[Target]
) -> dict[str, Path]:
    """Write what the targets' runtimes load, weights.safetensors and candidate.json; returns every target's file.

    Runtimes that get the same bytes as the first target share its file.
    """
    network = with_8_bits(network)
    files = emit_files(network, folder, header, targets)
    write_atomically(folder / "candidate.json", json.dumps(candidate.to_json(), indent=1))
    weights = folder / ".weights.safetensors.tmp"
    save_file(stored_weights(network), weights)
    weights.replace(folder / "weights.safetensors")
    return files


def emit_files(network: nn.Module, folder: Path, header: FileHeader, targets: Sequence[Target]) -> dict[str, Path]:
    """Write each different file once; target name -> file."""
    names, emitted = file_names(targets), dict[str, bytes]()
    network = with_8_bits(network)
    for target in targets:
        if names[target.name] not in emitted:
            emitted[names[target.name]] = runtime_of(target).emit(network, header)
    first = names[targets[0].name]
    wanted = {name: data for name, data in emitted.items() if name == first or data != emitted[first]}
    for name, data in wanted.items():
        write_atomically(folder / name, data)
    return {target: folder / (name if name in wanted else first) for target, name in names.items()}


def verify(network: nn.Module, files: dict[str, Path], candidate: Candidate, bench: Workbench) -> Verification:
    """Compare what torch and every target's runtime say of some validation images.

    Raises ParityBroken, or TrainingDiverged where torch's own logits are not finite.
    """
    images = bench.data.validation.evenly_spaced(PARITY_IMAGES)
    expected = predict(with_8_bits(network), torch.from_numpy(images.images)).numpy()
    classes = len(bench.data.class_names)
    return parity.verify(files, bench.study.targets, candidate, images, expected=expected, num_classes=classes)


def score_file(file: Path, bench: Workbench, *, test: bool, give_way: Callable[[], None] = lambda: None) -> Scores:
    """Scores of the first target's file: validation, a sample of train, and test where it may be read.

    `give_way` is called before every batch.
    """
    target = opened_here(bench.study.target)
    return _score(runtime_of(target).open(file, target), bench, test=test, give_way=give_way)


def _score(runner: Predicts, bench: Workbench, *, test: bool, give_way: Callable[[], None]) -> Scores:
    return score_runner(
        runner,
        validation=bench.data.validation,
        train=bench.data.train.evenly_spaced(TRAIN_IMAGES),
        test=bench.data.load_test() if test else None,
        give_way=give_way,
    )


def score_network(
    network: nn.Module, file: Path, bench: Workbench, *, test: bool, give_way: Callable[[], None] = lambda: None
) -> Scores:
    """Scores of the first target's file, or of the network itself where no file computes what it does."""
    if not is_simulated(network):
        return score_file(file, bench, test=test, give_way=give_way)
    return _score(InTorch(network), bench, test=test, give_way=give_way)


@dataclass(frozen=True)
class InTorch:
    """A network that predicts as a runtime's file does."""

    network: nn.Module

    @torch.no_grad()
    def predict(self, images: Array, *, batch: int = PREDICTED) -> Array:
        """Logits (N, classes) of float32 images (N, C, H, W) in [0, 1]."""
        parts = torch.split(torch.from_numpy(images), batch)
        found: Array = torch.cat([self.network.eval()(part) for part in parts]).numpy()
        return found


def accuracy_source(network: nn.Module) -> Literal["trained", "simulated"]:
    """What the scores of a trained network are of: its file, or a simulation."""
    return "simulated" if is_simulated(network) else "trained"


def stored_weights(network: nn.Module) -> dict[str, Tensor]:
    """Integer codes, scales and biases by layer name, so that another runtime's file needs no training."""
    stored: dict[str, Tensor] = {}
    trained_copies = set()
    for name, module in network.named_modules():
        if isinstance(module, QuantizedLayer):
            trained_copies.add(f"{name}.layer")
            stored |= {f"{name}.{key}": tensor for key, tensor in module.packed().tensors().items()}
        elif not any(True for _ in module.children()) and name not in trained_copies:
            own = {
                **dict(module.named_parameters(recurse=False)),
                **dict(module.named_buffers(recurse=False)),
            }
            stored |= {f"{name}.{key}": value.detach().cpu().contiguous() for key, value in own.items()}
    return stored
