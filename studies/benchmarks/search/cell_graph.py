"""Cells of NAS-Bench-201 (Dong and Yang 2020, arXiv:2001.00326) as graphs: what is alive, and what can be said of it.

A cell is six operations, one per edge between four nodes, as indices into OPERATIONS.
"""

from __future__ import annotations

import math

import numpy as np

Cell = tuple[int, ...]
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
INPUT, OUTPUT = 0, 3


def parse(text: str) -> Cell:
    """A cell of its name in the benchmark: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
    names = [part.split("~")[0] for part in text.replace("+", "").split("|") if part]
    return tuple(OPERATIONS.index(name) for name in names)


def without_dead(cell: Cell) -> Cell:
    """The cell with `none` on every edge that lies on no path from input to output."""
    ahead, behind = {INPUT}, {OUTPUT}
    for (start, end), operation in zip(EDGES, cell, strict=True):
        if operation != NONE and start in ahead:
            ahead.add(end)
    for (start, end), operation in reversed(list(zip(EDGES, cell, strict=True))):
        if operation != NONE and end in behind:
            behind.add(start)
    alive = (start in ahead and end in behind for start, end in EDGES)
    return tuple(operation if is_alive else NONE for operation, is_alive in zip(cell, alive, strict=True))


def describe(cell: Cell) -> list[float]:
    """How often each operation lives, how deep paths are and what they see, and which layers follow each other."""
    live = without_dead(cell)
    return [*(float(live.count(kind)) for kind in range(1, 5)), *_of_paths(live), *_following(live)]


def _paths(live: Cell) -> list[tuple[int, int, int]]:
    """Of every path from input to output: weighted layers, pixels its receptive field grows by, poolings."""
    reaching: dict[int, list[tuple[int, int, int]]] = {INPUT: [(0, 0, 0)], 1: [], 2: [], OUTPUT: []}
    for (start, end), kind in zip(EDGES, live, strict=True):
        if kind != NONE:
            layers, pixels, pools = kind in (CONV_1X1, CONV_3X3), 2 * (kind in (CONV_3X3, POOL)), kind == POOL
            reaching[end] += [(a + layers, b + pixels, c + pools) for a, b, c in reaching[start]]
    return reaching[OUTPUT]


def _of_paths(live: Cell) -> list[float]:
    paths = _paths(live) or [(0, 0, 0)]
    layers, pixels, pools = zip(*paths, strict=True)
    depth = (float(max(layers)), float(min(layers)), sum(layers) / len(layers))
    return [*depth, float(max(pixels)), float(min(pixels)), float(min(pools)), math.log(len(paths))]


def _following(live: Cell) -> list[float]:
    """Roots of how often a kind of layer follows another, skips contracted; 0 stands for both ends of the cell."""
    linked = np.eye(4, dtype=bool)
    for (start, end), kind in zip(EDGES, live, strict=True):
        linked[start, end] |= kind == SKIP
    linked = np.linalg.matrix_power(linked.astype(int), 4) > 0
    layers = [(edge, kind - 1) for edge, kind in zip(EDGES, live, strict=True) if kind > SKIP]
    counts = np.zeros((4, 4))
    counts[0, 0] = linked[INPUT, OUTPUT]
    for (start, end), kind in layers:
        counts[0, kind] += linked[INPUT, start]
        counts[kind, 0] += linked[end, OUTPUT]
        for (other_start, _), other in layers:
            counts[kind, other] += linked[end, other_start]
    return [float(value) for value in np.sqrt(counts).ravel()]
