"""A part of a network: what is decided together where a study decides by block. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.block_configs import Activation
from search_spaces.layers import LayerSpec
from search_spaces.sites import BlockSite


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of a network: its layers in order of execution; its place if it is a block, else its activation.

    `is_linear` says of a block that it is without the activations between its layers and behind them; `is_edge` of a
    part that it holds the first or the last layer, which are not stored below 8 bits unless a study says so.
    Equal parts are mostly one object, so that what is worked out of a part is quickly found again.
    """

    name: str
    layers: tuple[LayerSpec, ...]
    site: BlockSite | None = None
    activation: Activation = "relu"
    is_linear: bool = False
    is_edge: bool = False
