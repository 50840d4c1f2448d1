"""From a trained network to a checked and measured file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, fx, nn

from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from nas.candidates.candidate import Candidate
from nas.files import write_atomically
from nas.runtimes.onnx.emission import FileHeader, emit, emit_or_export


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
