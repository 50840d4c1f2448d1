"""NAS-Bench-201 with measured latencies as a problem: error, parameters and latency of 15 625 trained cells.

The table comes from NATS-Bench (Dong et al. 2021, arXiv:2009.00437), HELP (Lee et al. 2021, arXiv:2106.08630) and
HW-NAS-Bench-360. The box reaches from the best of each objective to the 99th percentile of the table, costs as
logarithms. Cells that are the same network were trained several times: `plain` compares table values, which rewards the
luck of copies, `clean` takes the mean error over the copies of a network.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from cell_graph import EDGES, NONE, OPERATIONS, POOL, SKIP, describe, parse, without_dead
from numpy.typing import NDArray
from problems import CategoricalTrial, Params, Scale, volume

from nas.pareto import non_dominated

GENES = tuple(f"edge{start}{end}" for start, end in EDGES)
ACCURACY = "c10_test_200ep"
EARLY_ACCURACY = "c10_test_12ep"
CONNECTED = 20.0  # per cent on CIFAR-10; cells without a path from input to output have 10
LATENCIES = {
    "pi5": "hw360_pi5_litert_ms",
    "pi4": "help_raspi4_ms",
    "fpga": "help_fpga_ms",
    "1080ti": "help_1080ti_1_ms",
    "pixel3": "help_pixel3_ms",
    "xeon": "help_gold_6226_ms",
}


class Cells:
    """Objectives: error in per cent, parameters, latency in ms. The table has them all: there is nothing to train."""

    scales: Sequence[Scale] = ("linear", "log", "log")

    def __init__(self, table: pd.DataFrame, device: str) -> None:
        self.name = f"nb201-{device}"
        self.frame = table[table[ACCURACY] > CONNECTED].reset_index(drop=True)
        self._raw = np.column_stack(
            [100 - self.frame[ACCURACY], self.frame["params"], self.frame[LATENCIES[device]]]
        ).astype(np.float64)
        compared = np.column_stack([self._raw[:, 0], np.log(self._raw[:, 1:])])
        low, high = compared.min(axis=0), np.percentile(compared, 99, axis=0)
        self.reference_point = tuple(float(v) for v in (high[0], *np.exp(high[1:])))
        self._plain = np.minimum((compared - low) / (high - low), 1.0)
        self._networks = self.frame["rep_idx"].to_numpy()
        mean = self.frame.assign(error=compared[:, 0]).groupby("rep_idx")["error"].transform("mean").to_numpy()
        self._clean = self._plain.copy()
        self._clean[:, 0] = np.minimum((mean - low[0]) / (high[0] - low[0]), 1.0)
        self._cells = [parse(text) for text in self.frame["arch"]]
        self._index = {cell: index for index, cell in enumerate(self._cells)}
        self._described = [describe(cell) for cell in self._cells]
        self._logs = np.column_stack([compared[:, 1], np.log(self.frame["macs"]), compared[:, 2]])
        self._least = self._not_beaten_by_copies()
        self._volumes = volume(self._plain), volume(self._clean)

    def space(self, trial: CategoricalTrial) -> Hashable:
        params = {gene: trial.suggest_categorical(gene, OPERATIONS) for gene in GENES}
        index = self.index(params)
        return -1 if index is None else int(self._networks[index])

    def index(self, params: Params) -> int | None:
        """Row of the table; None for a cell without a path from input to output."""
        return self._index.get(tuple(OPERATIONS.index(params[gene]) for gene in GENES))

    def values(self, params: Params, random: np.random.Generator) -> tuple[float, ...]:
        """What the table says; the reference point for a cell that is none, whose costs would lure a sampler."""
        index = self.index(params)
        return self.reference_point if index is None else tuple(self._raw[index].tolist())

    def early_values(self, params: Params) -> tuple[float, ...]:
        """The same after a training of 12 epochs."""
        index = self.index(params)
        if index is None:
            return self.reference_point
        return (float(100 - self.frame[EARLY_ACCURACY][index]), *self.exact(params))

    def exact(self, params: Params) -> tuple[float, ...]:
        index = self.index(params)
        return self.reference_point[1:] if index is None else tuple(self._raw[index, 1:].tolist())

    def features(self, params: Params, *, with_latency: bool) -> Sequence[float]:
        index = self.index(params)
        if index is None:
            return [*describe((NONE,) * len(EDGES)), *self._logs.min(axis=0)[: 2 + with_latency].tolist()]
        return [*self._described[index], *self._logs[index, : 2 + with_latency].tolist()]

    def work(self, params: Params) -> Sequence[float]:
        """One cell, and its live edges of each kind."""
        index = self.index(params)
        live = without_dead(self._cells[index]) if index is not None else (NONE,) * len(EDGES)
        return [1.0, *(float(live.count(kind)) for kind in range(SKIP, POOL + 1))]

    def is_wasteful(self, params: Params, *, with_latency: bool) -> bool:
        """Dead layers that cost something: a decoder removes them. With latency known, any copy that costs more."""
        index = self.index(params)
        if index is None:
            return True
        return not self._least[index] if with_latency else without_dead(self._cells[index]) != self._cells[index]

    def shares(self, tried: Sequence[Params]) -> dict[str, float]:
        found = [index for index in map(self.index, tried) if index is not None]
        plain, clean = self._volumes
        return {"clean": volume(self._clean[found]) / clean, "plain": volume(self._plain[found]) / plain}

    def _not_beaten_by_copies(self) -> NDArray[np.bool_]:
        least = np.zeros(len(self.frame), dtype=np.bool_)
        for rows in self.frame.groupby("rep_idx").indices.values():
            least[rows] = non_dominated(self._raw[rows, 1:])
        return least


def read_table(file: Path) -> pd.DataFrame:
    columns = ["arch", "params", "macs", "rep_idx", ACCURACY, EARLY_ACCURACY, *LATENCIES.values()]
    return pd.read_csv(file, usecols=columns)
