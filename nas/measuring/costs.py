"""Costs of a file: parameters, MACs, bytes and memory off its graph, latency off the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx

from nas.candidates.candidate import Candidate
from nas.measuring.latency import measure
from nas.records import LayerReport, Measurement
from nas.runtimes.onnx.costs import read_costs
from nas.study import Target


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
