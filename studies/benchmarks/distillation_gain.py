"""What a teacher adds to a compressed network's accuracy: the same network and seeds, with and without.

python studies/benchmarks/distillation_gain.py studies/digits.yaml --seeds 5 --teacher self --json gain.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from nas.candidate import Candidate, sample
from nas.data import load
from nas.evaluate import fitting_of, needs_reference
from nas.run_folder import RunFolder
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.teacher import build, reference_logits
from nas.training import predict
from nas.workbench import Workbench
from search_spaces.spaces import Pick, middle

RESAMPLES = 10_000


def compressed(study: Study, ratio: float) -> Candidate:
    """The middle of the space with every group pruned by `ratio`, in int4 (int8 at the edges)."""
    freedom = study.compression.model_copy(update={"pruning_ratio": (ratio,), "weight_format": ("int4",)})
    return sample(Pick(middle), study.space, freedom, input_channels=study.data.input_channels)


def accuracy(study: Study, candidate: Candidate, seed: int, folder: Path) -> float:
    """Train once; accuracy of the network, as trained for quantization, on the test images."""
    bench = Workbench(study, load(study.data, input_size=study.space.input_size, seed=0), folder=RunFolder(folder))
    task = Task(0, candidate, "repeat", seed, study.training.epochs, folder / f"{seed}")
    task.folder.mkdir(parents=True)
    recorded = reference_logits(bench) if needs_reference(study) else None
    network = build(candidate, bench, seed=seed, dropout=study.training.dropout)
    fitted = fitting_of(task, bench, recorded).fit(network, lambda: None)
    test = bench.data.load_test()
    right = predict(fitted.network.cpu(), torch.from_numpy(test.images)).argmax(1) == torch.from_numpy(test.labels)
    return float(right.float().mean())


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    random = np.random.default_rng(0)
    means = random.choice(differences, (RESAMPLES, len(differences))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--teacher", choices=("self", "reference"), default="self")
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    options = f"{{teacher: {arguments.teacher}, weight: {arguments.weight}, temperature: {arguments.temperature}}}"
    # Folders of their own: one way's checkpoint must not be continued by the other.
    ways = {
        way: load_study(arguments.study, [f"training.distillation={text}"])
        for way, text in (("without", "null"), ("with", options))
    }
    candidate = compressed(ways["without"], arguments.ratio)
    table = Table(title=f"{arguments.study}: teacher {arguments.teacher}, test accuracy %")
    for column in ("seed", "without", "with", "difference"):
        table.add_column(column, justify="right")
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            pairs.append([accuracy(study, candidate, seed, Path(folder) / way) for way, study in ways.items()])
            without, taught = pairs[-1]
            table.add_row(str(seed), f"{without:.2%}", f"{taught:.2%}", f"{taught - without:+.2%}")
    differences = np.diff(np.array(pairs), axis=1)[:, 0]
    low, high = interval(differences)
    Console().print(table, f"mean difference {differences.mean():+.2%}, 95 % interval [{low:+.2%}, {high:+.2%}]")
    if arguments.json:
        figures = {"candidate": candidate.to_json(), "teacher": arguments.teacher, "weight": arguments.weight,
                   "temperature": arguments.temperature, "pairs": pairs, "mean": float(differences.mean()),
                   "interval_95": [low, high]}  # fmt: skip
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
