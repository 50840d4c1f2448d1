"""Pruning as a step of a compression."""

from __future__ import annotations

from torch import nn

from compressors.batch_norm import estimate_batch_norm
from compressors.pipeline import Method, Options
from compressors.pruning.channels import prune
from compressors.steps import Prune


def _apply(network: nn.Module, record: Prune, options: Options) -> nn.Module:
    prune(network, options.groups, record.kept, importance=options.importance)
    return network


PRUNING = Method(apply=_apply, settle=estimate_batch_norm)
