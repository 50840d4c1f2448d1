"""What a network's latency is made of, as plain numbers: every layer's work, and what its format and place add.

Around the layers: changes between floats and integers, additions of skips, gates, activations that are no part of a
layer, channel moves.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import zip_longest

import numpy as np

from nas.candidates.candidate import Candidate, formats_of
from nas.measuring.latency_flows import pieces_of_runs
from nas.measuring.latency_work import (
    NETWORK,
    NOMINAL_NS,
    Array,
    Held,
    Kernel,
    LayerWalk,
    Piece,
    Tally,
    Work,
    is_pooled,
)
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.sites import BlockSite

__all__ = ["NETWORK", "NOMINAL_NS", "Array", "Kernel", "Work", "work_of"]


def work_of(candidate: Candidate, num_classes: int) -> Work:
    """The terms of a candidate. Depends on its structure alone, and may be kept."""
    architecture = candidate.architecture
    pieces = pieces_of_runs(candidate, num_classes) or _pieces_of_parts(candidate, num_classes)
    pieces.append(_whole(architecture.input_channels * architecture.input_size**2))
    first = np.repeat(np.cumsum([0, *(len(piece.kernels) for piece in pieces[:-1])]), [len(p.rows) for p in pieces])
    return Work(
        tuple(kernel for piece in pieces for kernel in piece.kernels),
        (np.concatenate([piece.rows for piece in pieces]) + first).astype(np.int32),
        np.concatenate([piece.columns for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
    )


def _pieces_of_parts(candidate: Candidate, num_classes: int) -> list[Piece]:
    """Of a network whose parts say themselves what lies between their layers; of another one its layers alone."""
    held: Held = "pixels"
    side, pieces = candidate.architecture.input_size, list[Piece]()
    for part in candidate.parts(num_classes):
        piece = _piece(part, formats_of(part, candidate.plan), held, side)
        pieces.append(piece)
        held, side = piece.held, piece.side
    return pieces


@lru_cache(maxsize=1 << 16)  # thousands of networks are made of few different parts
def _piece(part: Part, formats: tuple[str, ...], held: Held, side: int) -> Piece:
    tally = Tally()
    walk = LayerWalk(dict(zip((layer.name for layer in part.layers), formats, strict=True)), tally, held, side)
    _tally_part(walk, part)
    return tally.closed(walk.held, walk.side)


@lru_cache(maxsize=1 << 8)
def _whole(pixels: int) -> Piece:
    """What belongs to no layer."""
    tally = Tally()
    tally.open(Kernel(NETWORK, (0.0,) * 7))
    tally.add(f"{NETWORK}/call")
    tally.add(f"{NETWORK}/pixels", pixels)
    return tally.closed("float", 1)


def _tally_part(walk: LayerWalk, part: Part) -> None:
    """A block, or the stem, head or classifier."""
    before, site, layers = walk.held, part.site, part.layers
    last = layers[-1].whole if site is not None else ""
    activation = site.config.activation if site is not None and not part.is_linear else "relu"
    for layer, following in zip_longest(layers, layers[1:]):
        fmt = walk.layer(layer)
        if following is not None and following.whole == layer.whole:
            continue  # a factor, behind which nothing is
        if activation == "hardswish" and layer.whole != last and not is_pooled(layer):
            walk.tally.event(f"hardswish/{fmt}", layer.out_channels * layer.output_pixels)
        if layer.whole.endswith("squeeze_excite.excite") and site is not None:
            walk.tally.event(f"gate/{fmt}", layer.out_channels * site.output_size**2)
    if site is not None:
        _behind(walk, site, layers[-1], before)


def _behind(walk: LayerWalk, site: BlockSite, last: LayerSpec, before: Held) -> None:
    """What follows a block's last layer."""
    written, after = last.out_channels * site.output_size**2, walk.held
    if site.kind.splits:
        event = "moved" if site.keeps_shape else "regridded"
        walk.tally.event(f"{event}/{after}", 2 * written)
    elif site.has_skip or last.whole.endswith("shortcut"):
        first = before if site.has_skip and before != "pixels" else after
        walk.tally.event(f"added/{first}/{after}", written)
