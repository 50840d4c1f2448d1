"""Quantization as a step of a compression, and what is special in quantization-aware training."""

from __future__ import annotations

from torch import nn

from compressors.pipeline import Method, Options
from compressors.quantization.calibration import calibrate
from compressors.quantization.insertion import prepare
from compressors.quantization.modules import observe, refresh_scales
from compressors.steps import Quantize


def _apply(network: nn.Module, record: Quantize, options: Options) -> nn.Module:
    device = next(network.parameters()).device
    return prepare(network, record.formats, learned=options.learned, scheme=options.scheme).to(device)


def _begin_epoch(network: nn.Module, done: float) -> None:
    """Fitted scales follow the weights; ranges move in the first half only, so that the rest trains on fixed grids."""
    refresh_scales(network, learned=False)
    observe(network, done < 0.5)


QUANTIZATION = Method(
    apply=_apply,
    settle=calibrate,
    begin_epoch=_begin_epoch,
    averaged=lambda network: refresh_scales(network, learned=False),
    end_stage=lambda network: observe(network, False),
)
