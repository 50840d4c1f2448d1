"""Samplers on a study that trains: equal trials, several seeds, the hypervolume of each search's own trials.

    python studies/benchmarks/search/digits.py studies/digits.yaml --out runs/digits-search \
        --objectives accuracy size_bytes --json digits-search.json

Each search is one `nas run` of 24 trials of 10 epochs without finalists, in OUT/<sampler>-<seed>; a killed command goes
on where it was. Hypervolumes are of validation accuracy and the logarithms of costs, as shares of what the trials of
all searches together dominate, over one reference point for all, 10 % beyond their worst. Printed are the medians and
the paired differences of the first sampler to every other, means and 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from intervals import Interval, of_mean, of_median
from rich.console import Console
from rich.table import Table

from nas.objectives import beyond_worst, minimised
from nas.pareto import hypervolume
from nas.records import State

SETTINGS = ("search.workers=1", "search.finalists=0", "search.repeat_share=0", "training.precision=fp32")
Searches = Mapping[str, Mapping[int, pd.DataFrame]]  # complete trials by sampler and seed, in the order of numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objectives", nargs="+", required=True)
    parser.add_argument("--samplers", nargs="+", default=["pareto", "nsga2", "tpe"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = [*SETTINGS, f"search.trials={options.trials}", f"training.epochs={options.epochs}"]
    settings.append(f"objectives=[{','.join(options.objectives)}]")
    for seed in range(options.seeds):  # seed by seed, so that a command that is cut short has pairs
        for sampler in options.samplers:
            own = [*settings, f"search.sampler={sampler}", f"search.seed={seed}"]
            search(options.study, own, options.out / f"{sampler}-{seed}", options.trials)
    found = {name: searches_of(options.out, name, options.seeds) for name in options.samplers}
    shares = shares_of(found, options.objectives, options.trials)
    differences = paired(shares, options.trials)
    show(shares, differences, options.objectives)
    if options.json:
        command = {"study": str(options.study), "settings": settings}
        text = {**command, "shares": shares, "differences": {k: v._asdict() for k, v in differences.items()}}
        options.json.write_text(json.dumps(text, indent=1) + "\n")


def search(study: Path, settings: Sequence[str], folder: Path, trials: int) -> None:
    """One whole search in a process of its own, unless it is done."""
    if len(complete(folder)) >= trials:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(study), *settings, "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"{folder.name}: {len(complete(folder))} trials", flush=True)


def complete(folder: Path) -> pd.DataFrame:
    """The complete trials of a run folder; none where there is no search yet."""
    file = folder / "trials.csv"
    if not file.exists():
        return pd.DataFrame()
    rows = pd.read_csv(file)
    found: pd.DataFrame = rows.loc[rows["state"] == State.COMPLETE].sort_values("number")
    return found


def searches_of(out: Path, sampler: str, seeds: int) -> dict[int, pd.DataFrame]:
    return {seed: complete(out / f"{sampler}-{seed}") for seed in range(seeds)}


def shares_of(searches: Searches, objectives: Sequence[str], trials: int) -> dict[str, dict[int, dict[int, float]]]:
    """Hypervolume shares by sampler, seed and number of trials: a third, two thirds and all."""
    everything = pd.concat([rows for own in searches.values() for rows in own.values()])
    worst = [beyond_worst(name, everything[name]) for name in objectives]
    corner = minimised([worst], objectives)[0]

    def volume(rows: pd.DataFrame) -> float:
        return hypervolume(minimised(rows[list(objectives)].to_numpy(), objectives), corner)

    whole = volume(everything)
    looks = (trials // 3, 2 * trials // 3, trials)
    return {
        name: {seed: {look: volume(rows[:look]) / whole for look in looks} for seed, rows in own.items()}
        for name, own in searches.items()
    }


def paired(shares: Mapping[str, Mapping[int, Mapping[int, float]]], trials: int) -> dict[str, Interval]:
    """The first sampler minus each other, of all trials: mean over seeds and its interval."""
    first, *others = shares
    return {
        other: of_mean([shares[first][seed][trials] - shares[other][seed][trials] for seed in shares[first]])
        for other in others
    }


def show(shares: Mapping[str, Mapping[int, Any]], differences: Mapping[str, Interval], names: Sequence[str]) -> None:
    table = Table(title=f"Hypervolume share of {', '.join(names)}; median over seeds and its 95 % interval", box=None)
    looks = next(iter(next(iter(shares.values())).values()))
    for column in ("sampler", "seeds", *(f"{look} trials" for look in looks)):
        table.add_column(column, justify="left" if column == "sampler" else "right", no_wrap=True)
    for name, own in shares.items():
        cells = [str(of_median([values[look] for values in own.values()])) for look in looks]
        table.add_row(name, str(len(own)), *cells)
    Console(width=120).print(table)
    for other, difference in differences.items():
        print(f"{next(iter(shares))} - {other}: {np.round(difference, 4).tolist()}")


if __name__ == "__main__":
    main()
