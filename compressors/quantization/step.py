"""Quantization as a step of a compression, and what is special in quantization-aware training."""

from __future__ import annotations

from torch import nn

from compressors.pipeline import Method, Options
from compressors.quantization.activations import observe
from compressors.quantization.calibration import calibrate
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import refresh_scales
from compressors.quantization.normed import fold_norms, freeze_norms
from compressors.requests.quantized import Quantize

FROZEN_FROM = 2 / 3  # of the stage: so long batch norm follows the batches, where it is kept alive


def _apply(network: nn.Module, record: Quantize, options: Options) -> nn.Module:
    device = next(network.parameters()).device
    prepared = prepare(
        network, record.formats, learned=options.learned, scheme=options.scheme, keep_norms=options.keep_norms
    )
    return prepared.to(device)


def _begin_epoch(network: nn.Module, done: float) -> None:
    """Fitted scales follow the weights; ranges move in the first half only, so that the rest trains on fixed grids."""
    refresh_scales(network, learned=False)
    observe(network, done < 0.5)


def _end_stage(network: nn.Module) -> None:
    observe(network, False)
    freeze_norms(network, True)


QUANTIZATION = Method(
    apply=_apply,
    settle=calibrate,
    begin_epoch=_begin_epoch,
    before_step=lambda network, done: freeze_norms(network, done >= FROZEN_FROM),
    averaged=lambda network: refresh_scales(network, learned=False),
    end_stage=_end_stage,
    finish=fold_norms,
)
