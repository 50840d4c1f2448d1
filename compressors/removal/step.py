"""Removal of blocks and of activations as steps of a compression."""

from __future__ import annotations

from torch import nn

from compressors.batch_norm import estimate_batch_norm
from compressors.pipeline import Method, Options
from compressors.removal.activations import remove_activations
from compressors.removal.blocks import remove_blocks
from compressors.requests.removed import RemoveActivations, RemoveBlocks


def _blocks(network: nn.Module, record: RemoveBlocks, _: Options) -> nn.Module:
    remove_blocks(network, record.blocks)
    return network


def _activations(network: nn.Module, record: RemoveActivations, _: Options) -> nn.Module:
    remove_activations(network, record.blocks)
    return network


BLOCKS_REMOVED = Method(apply=_blocks, settle=estimate_batch_norm)
ACTIVATIONS_REMOVED = Method(apply=_activations, settle=estimate_batch_norm)
