"""An inference engine of twenty lines: its files are names, under which it keeps torch networks."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from compressors.coding.container import coded
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from nas.data.decoding import Form
from nas.records import Fingerprint
from nas.runtimes.cpu import fingerprint_of
from nas.runtimes.runtime import CONTROL_SHAPE, Array, FileCosts, FileHeader, FileZeros, RuntimeRefused, Usage

QUANTIZED = QuantizedConv2d | QuantizedLinear
CONTROL = b"toy: control"


class ToyRunner:
    def __init__(self, network: nn.Module, shape: tuple[int, int, int], toy: Toy) -> None:
        self.network, self.shape, self.toy = network, shape, toy

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        with torch.no_grad():
            parts = [self.network(part) for part in torch.split(torch.from_numpy(images), batch)]
        return self.toy.change(torch.cat(parts).numpy())

    def time_us(self, image: Array, runs: int) -> list[float]:
        return [self.toy.microseconds] * runs

    def input_shape(self) -> tuple[int, int, int]:
        return self.shape


class Toy:
    """`change` is what this runtime computes otherwise than torch; `refuses` has it refuse every network's file."""

    name = "toy"
    package = "toy"
    extra = "toys"
    file_name = "network.toy"
    default_provider = "table"
    refused: Mapping[str, str] = MappingProxyType({})

    def __init__(self, change: Callable[[Array], Array] = lambda logits: logits, *, refuses: bool = False) -> None:
        self.change, self.refuses = change, refuses
        self.networks: dict[bytes, tuple[nn.Module, FileHeader]] = {}
        self.microseconds = 7.0

    def emit(self, network: nn.Module, header: FileHeader) -> bytes:
        digest = hashlib.sha256(str(replace(header)).encode())
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        file = b"toy: " + digest.hexdigest().encode()
        self.networks[file] = copy.deepcopy(network).eval(), header
        return file

    def open(self, file: Path | bytes, target: Any) -> ToyRunner:
        data = self._read(file)
        if data == CONTROL:
            return ToyRunner(nn.Identity(), (CONTROL_SHAPE[1], CONTROL_SHAPE[2], CONTROL_SHAPE[3]), self)
        if self.refuses or data not in self.networks or target.provider not in self.providers():
            raise RuntimeRefused("no such toy")
        network, header = self.networks[data]
        return ToyRunner(network, (header.channels, header.input_size, header.input_size), self)

    def _read(self, file: Path | bytes) -> bytes:
        if isinstance(file, bytes):
            return file
        return file.read_bytes() if file.exists() else b""

    def refuse_unsafe(self, content: bytes) -> None:
        if not content.startswith(b"toy: "):
            raise RuntimeRefused("no toy")

    def costs(self, file: Path) -> FileCosts:
        network, _ = self.networks[file.read_bytes()]
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        weights = sum(p.numel() for layer in layers for p in layer.parameters())
        return FileCosts(parameters=weights, macs=weights * 3, peak_memory_bytes=1000)

    def coded(self, file: Path) -> bytes:
        return coded(file.read_bytes(), [])

    def zeros(self, file: Path) -> FileZeros:
        network, _ = self.networks[file.read_bytes()]
        layers = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        nonzero = sum(int(p.count_nonzero()) for _, layer in layers for p in layer.parameters())
        return FileZeros(nonzero, {name: float((layer.weight == 0).float().mean()) for name, layer in layers})

    def forecast(self, candidate: Any, header: FileHeader) -> None:
        return None

    def class_names(self, file: Path) -> tuple[str, ...]:
        data = self._read(file)
        return self.networks[data][1].class_names if data in self.networks else ()

    def usage(self, file: Path, form: Form) -> Usage:
        return Usage("a toy", f"print({file.name!r}, {form.size})")

    def integer_layers(self, file: Path, target: Any) -> frozenset[str]:
        network = self.open(file, target).network
        return frozenset(name for name, module in network.named_modules() if isinstance(module, QUANTIZED))

    def fingerprint(self, target: Any) -> Fingerprint:
        return fingerprint_of(target, "toy 1.0")

    def control(self) -> bytes:
        return CONTROL

    def providers(self) -> tuple[str, ...]:
        return (self.default_provider,)

    def versions(self) -> dict[str, str]:
        return {"toy": "1.0"}


def upside_down(logits: Array) -> Array:
    return -np.asarray(logits)
