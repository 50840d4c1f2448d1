"""Static quantization as a step: after all training, with ranges calibrated on images, and no training behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from compressors.pipeline import Method, Options
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.bias_correction import correct_biases
from compressors.quantization.equalization import equalize
from compressors.quantization.floats import FloatRun
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import refresh_scales
from compressors.quantization.ranges import Histogram, bins_of, calibration_named
from compressors.requests.quantized import Calibrate

_SETTINGS = "post_training"  # of GraphModule.meta, between applying the step and settling it


def _apply(network: nn.Module, record: Calibrate, options: Options) -> nn.Module:
    device = next(network.parameters()).device
    calibration_named(options.post_training.calibration)
    folded = fold_batch_norm(network)
    if options.post_training.equalization:
        equalize(folded)
    prepared = prepare(folded, record.formats, scheme=options.scheme).to(device)
    prepared.meta[_SETTINGS] = options.post_training
    return prepared


@torch.no_grad()
def _settle(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set ranges, then scales, then biases from batches (N, C, H, W); leaves the network in eval mode.

    Raises ValueError where there is no batch.
    """
    assert isinstance(network, fx.GraphModule)
    if isinstance(batches, Iterator):
        batches = list(batches)
    settings = network.meta[_SETTINGS]
    network.eval()
    calibrate_ranges(network, batches, settings.calibration)
    refresh_scales(network)
    if settings.bias_correction:
        correct_biases(network, batches)
        refresh_scales(network)


@torch.no_grad()
def calibrate_ranges(network: fx.GraphModule, batches: Iterable[Tensor], calibration: str) -> None:
    """Set the range of every activation that is not fixed, by a row of CALIBRATIONS, from the float network's values.

    The batches pass twice: for the smallest and largest value, then for the histogram between them.
    """
    quantizers = {
        path: module
        for path, module in network.named_modules()
        if isinstance(module, ActivationQuantizer) and not module.is_fixed
    }
    extremes = _extremes(network, batches, quantizers)
    counts = _counts(network, batches, quantizers, extremes) if calibration != "minmax" else {}
    choose = calibration_named(calibration)
    for path, (low, high) in extremes.items():
        scheme = quantizers[path].scheme
        seen = counts.get(path, Histogram(np.ones(1), np.array([low, high]), low, high))
        quantizers[path].set_range(*choose(seen, scheme))


def _extremes(
    network: fx.GraphModule, batches: Iterable[Tensor], wanted: dict[str, ActivationQuantizer]
) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}

    def look(path: str, x: Tensor) -> None:
        if path in wanted:
            low, high = (float(bound) for bound in torch.aminmax(x))
            before = found.get(path, (low, high))
            found[path] = min(before[0], low), max(before[1], high)

    seen, run = 0, FloatRun(network, activation=look)
    for images in batches:
        run.run(images)
        seen += 1
    if not seen:
        raise ValueError("calibration: expected at least one batch of images, got none")
    return found


def _counts(
    network: fx.GraphModule,
    batches: Iterable[Tensor],
    wanted: dict[str, ActivationQuantizer],
    extremes: dict[str, tuple[float, float]],
) -> dict[str, Histogram]:
    counts: dict[str, Tensor] = {}

    def look(path: str, x: Tensor) -> None:
        if path in wanted:
            new = _counted(x, _side(extremes[path]), bins_of(extremes[path][0], wanted[path].scheme))
            counts[path] = counts[path] + new if path in counts else new

    run = FloatRun(network, activation=look)
    for images in batches:
        run.run(images)
    return {path: _histogram(total, extremes[path]) for path, total in counts.items()}


def _histogram(counts: Tensor, extremes: tuple[float, float]) -> Histogram:
    side = _side(extremes)
    return Histogram(counts.double().numpy(), np.linspace(-side, side, len(counts) + 1), *extremes)


def _counted(x: Tensor, side: float, bins: int) -> Tensor:
    """Counts (bins,) of the values of x in bins from -side to side. `histc` counts in floats, which stop at 2^24."""
    places = ((x.double() / (2 * side) + 0.5) * bins).long().clamp(0, bins - 1)
    return torch.bincount(places.flatten(), minlength=bins).cpu()


def _side(extremes: tuple[float, float]) -> float:
    return max(-extremes[0], extremes[1], 1e-12)


CALIBRATED = Method(apply=_apply, settle=_settle)
