"""Costs of a network's files: parameters, MACs, bytes and memory off the graph, latency off each target's runtime."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from nas.candidates.candidate import Candidate
from nas.measuring.places import Places, places_of
from nas.records import UNSTABLE, LayerReport, Measurement, floats_at, parity_at
from nas.runtimes.runtime import RuntimeRefused, runtime_of
from nas.study import Target
from search_spaces.layers import LayerSpec


def measure_files(
    files: Mapping[str, Path],
    targets: Sequence[Target],
    *,
    origin: Literal["untrained file", "shipped file"],
    without: Collection[str] = (),
    places: Places | None = None,
) -> Measurement:
    """All costs: latencies off the file of each target by name, everything else off the first target's file.

    Each target is measured at its place, by default those of `places_of`.

    Targets in `without`, and those after the first whose runtime refuses their file, get no latency. Raises
    RuntimeRefused where the first target's runtime does.
    """
    first, *others = targets
    costs = runtime_of(first).costs(files[first.name])
    places, refused = places or places_of(targets), dict[str, str]()
    latency = {first.name: places[first.name].measure(files[first.name], first)}
    for target in others:
        if target.name in without:
            continue
        try:
            latency[target.name] = places[target.name].measure(files[target.name], target)
        except RuntimeRefused as error:
            refused[target.name] = " ".join(str(error).split())
    return Measurement(
        origin=origin,
        parameters=costs.parameters,
        macs=costs.macs,
        size_bytes=_bytes(files[first.name]),
        peak_memory_bytes=costs.peak_memory_bytes,
        latency=latency,
        refused=refused,
        other_size_bytes={t.name: _bytes(files[t.name]) for t in others if t.runtime != first.runtime},
        **(costs_of_weights(files[first.name], first) if origin == "shipped file" else {}),
    )


def doubts(measurement: Measurement, targets: Sequence[Target], ran_integer: Collection[str] = ()) -> tuple[str, ...]:
    """Flags of latencies that are disturbed, or missing on a target after the first.

    And of devices that say that they run layers as floats of those that run as integers here, `ran_integer`.
    """
    if measurement.origin == "bound":
        return ()
    missing = [parity_at(target.name) for target in targets if target.name not in measurement.latency]
    told = {name: latency.integer_layers for name, latency in measurement.latency.items()}
    floats = [floats_at(name) for name, there in told.items() if there is not None and set(ran_integer) - set(there)]
    return (*missing, *floats, *(() if measurement.is_stable else (UNSTABLE,)))


def costs_of_weights(file: Path, target: Target) -> dict[str, int]:
    """Costs, by name, that an untrained file says nothing of: what is not zero, and its bytes entropy-coded."""
    runtime = runtime_of(target)
    return {"nonzero_parameters": runtime.zeros(file).nonzero_parameters, "coded_bytes": len(runtime.coded(file))}


def _bytes(file: Path) -> int:
    return file.stat().st_size


def layer_reports(
    candidate: Candidate, num_classes: int, ran: frozenset[str], sparsity: Mapping[str, float] = MappingProxyType({})
) -> tuple[LayerReport, ...]:
    """Every layer as shipped; `sparsity` is the share of zeros among the weights of each, by name."""
    full = {layer.name: layer.out_channels for layer in candidate.architecture.layers(num_classes)}
    return tuple(
        LayerReport(
            name=layer.name,
            block=layer.block,
            kind=layer.kind,
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel=layer.kernel,
            kernel_width=layer.kernels[1] if layer.wide else None,
            parameters=layer.parameters,
            macs=layer.macs,
            format=candidate.plan.format_of(layer.name),
            ran="integer" if layer.name in ran else "float",
            unpruned_channels=full[layer.whole] if is_last else None,
            sparsity=sparsity.get(layer.name),
        )
        for layer, is_last in _with_ends(candidate.layers(num_classes))
    )


def _with_ends(layers: Sequence[LayerSpec]) -> Iterator[tuple[LayerSpec, bool]]:
    """Each layer, and whether what it writes is the output of the layer it is (a factor of)."""
    for layer, following in zip_longest(layers, layers[1:]):
        yield layer, following is None or following.whole != layer.whole
