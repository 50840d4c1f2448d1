"""How well the latency model predicts candidates that were measured, and how often its 99 % interval holds them:

    python studies/benchmarks/search/latency_model.py studies/digits.yaml studies/cifar10.yaml --json latency-model.json

Of each study's space random candidates are built untrained and measured by the protocol of records. Models are fitted
to n of them, as a search has after n trials, to a calibration alone, and to both; the others are predicted. Each number
of trials is drawn several times. The error is the root mean square of the logarithm, which is nearly relative; `low` is
how often a measurement lies above the lower end, which is what screening relies on. Latencies that no two passes agreed
on are left out, as a search leaves them out of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.measuring.calibration import calibrated
from nas.measuring.latency import measure
from nas.measuring.latency_benchmark import untrained_file
from nas.measuring.latency_model import LatencyModel, Measured
from nas.measuring.latency_terms import work_of
from nas.study import Study
from nas.study.file import load_study
from search_spaces.trials import Pick

CLASSES = 10


def measured(study: Study, count: int, seed: int) -> list[tuple[Candidate, float]]:
    """Random candidates with their milliseconds on the first target, by the protocol of records."""
    choose, found = random.Random(seed).choice, dict[str, tuple[Candidate, float]]()
    while len(found) < count:
        candidate = sample(Pick(choose), study.space, study.compression, input_channels=study.data.input_channels)
        structure = candidate.structure_id(CLASSES)
        if structure in found:
            continue
        latency = measure(untrained_file(candidate, CLASSES, study.target), study.target)
        if latency.stable:
            found[structure] = (candidate, latency.latency_ms)
    return list(found.values())


def calibration_of(study: Study) -> list[Measured]:
    """What a search with sampler pareto would measure first; not taken from the user's cache."""
    searching = study.search.model_copy(update={"sampler": "pareto"})
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COMPACT_NAS_CACHE"] = folder
        asked = study.model_copy(update={"search": searching, "targets": (study.target,)})
        found, problem = calibrated(asked, CLASSES, Path(folder) / "calibration.json")
    if problem:
        raise SystemExit(problem)
    return [(work_of(candidate, CLASSES), ms) for candidate, ms in found.of_target(study.target.name)]


def errors(model: LatencyModel, held_out: Sequence[Measured]) -> list[dict[str, float]]:
    """Of each held-out candidate: the logarithm of measured to predicted, and where in the interval it lies."""
    candidates, truth = [c for c, _ in held_out], np.array([ms for _, ms in held_out])
    off = np.log(truth / model.predict_all(candidates)[:, 0])
    low, high = model.intervals(candidates).T
    return [
        {"off": float(o), "above_low": float(t >= a), "below_high": float(t <= b), "width": float(np.log(b / a) / 2)}
        for o, t, a, b in zip(off, truth, low, high, strict=True)
    ]


def summarise(found: Sequence[dict[str, float]]) -> dict[str, float]:
    off, low, high, width = (
        np.array([row[key] for row in found]) for key in ("off", "above_low", "below_high", "width")
    )
    return {
        "rms": float(np.sqrt((off**2).mean())),
        "median": float(np.median(np.abs(off))),
        "covered": float((low * high).mean()),
        "low": float(low.mean()),
        "half_width": float(width.mean()),
    }


def of_study(study: Study, *, networks: int, sizes: Sequence[int], repeats: int, console: Console) -> dict[str, Any]:
    """Every way to fit, over `repeats` draws of the trials."""
    console.print(f"{study.name}: measuring {networks} candidates", style="dim")
    samples: list[Measured] = [(work_of(c, CLASSES), ms) for c, ms in measured(study, networks, seed=1)]
    console.print(f"{study.name}: calibrating", style="dim")
    benchmark = calibration_of(study)
    rows = dict[str, list[dict[str, float]]]()
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(len(samples))
        held_out = [samples[i] for i in order[max(sizes) :]]
        for count in sizes:
            trials = [samples[i] for i in order[:count]]
            rows.setdefault(f"{count} trials", []).extend(errors(LatencyModel.fit(trials, CLASSES), held_out))
            both = LatencyModel.fit(trials, CLASSES, benchmarked=benchmark)
            rows.setdefault(f"calibration + {count} trials", []).extend(errors(both, held_out))
    rows["calibration"] = errors(LatencyModel.fit(benchmark, CLASSES), samples)
    return {"calibration": len(benchmark), "fits": {name: summarise(found) for name, found in rows.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--networks", type=int, default=80, help="candidates that are measured")
    parser.add_argument("--trials", type=int, nargs="+", default=[8, 16, 32], help="how many a model is fitted to")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, found = Console(), dict[str, Any]()
    table = Table(title="Latency predicted and measured")
    for column in ("study", "fitted to", "error", "median", "in 99 % interval", "above its low end", "half width"):
        table.add_column(column, justify="left" if column in ("study", "fitted to") else "right")
    for path in arguments.studies:
        study = load_study(path)
        result = of_study(
            study, networks=arguments.networks, sizes=arguments.trials, repeats=arguments.repeats, console=console
        )
        found[study.name] = result
        for name, row in result["fits"].items():
            shown = name.replace("calibration", f"calibration ({result['calibration']})")
            cells = [f"{row[key]:.1%}" for key in ("rms", "median", "covered", "low", "half_width")]
            table.add_row(study.name, shown, *cells)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
