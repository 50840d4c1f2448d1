"""Genes of a network in small: those of a block are asked for only where the block is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

Genes = dict[str, Any]

KERNELS, EXPANSIONS, WIDTHS = (3, 5, 7), (1, 2, 3, 4, 6), (8, 16, 24, 32)
CHOICES: dict[str, Sequence[Any]] = {"depth": (1, 2, 3), "width": WIDTHS}
CHOICES |= {f"block{i}.kernel": KERNELS for i in (1, 2, 3)}
CHOICES |= {f"block{i}.expansion": EXPANSIONS for i in (1, 2, 3)}


def draw(trial: optuna.Trial) -> Genes:
    """The genes of a network."""

    def ask(name: str) -> Any:
        return trial.suggest_categorical(name, CHOICES[name])

    genes = {name: ask(name) for name in ("depth", "width")}
    for block in range(1, genes["depth"] + 1):
        genes |= {name: ask(name) for name in (f"block{block}.kernel", f"block{block}.expansion")}
    return genes


def values(genes: Genes) -> tuple[float, float]:
    """A score that each block adds to, some choices being better at the same cost, and the cost."""
    missing, cost = 1.0, 0.0
    for block in range(1, genes["depth"] + 1):
        kernel, expansion = genes[f"block{block}.kernel"], genes[f"block{block}.expansion"]
        best = KERNELS[block % 3]
        missing *= 1 - 0.12 * expansion ** (0.6 if kernel == best else 0.2)
        cost += genes["width"] * expansion * kernel**2
    return 1 - missing * (1 - 0.1 * (genes["width"] / 32) ** 0.5), cost


def slacks(genes: Genes) -> dict[str, float]:
    """Half of the space is too expensive."""
    return {"cost": values(genes)[1] / 1500 - 1}
