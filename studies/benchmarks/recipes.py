"""What a recipe of training is worth: ResNet-8 by many of them, as paired differences with 95 % intervals.

    python studies/benchmarks/recipes.py --data FOLDER --processes 14 --out recipes.jsonl --json recipes.json

FOLDER holds cifar10/, an image folder; 10 000 images are trained on. ResNet-8 (77 706 parameters; He et al.'s for
CIFAR, as in MLPerf Tiny, with 1x1 shortcuts) is trained with every seed by every variant, in fp32 and with all weights
in int8, int4 or int2 but for the first and last layer's, which have int8. Accuracies are those of the emitted files.
`stock` is the fp32 network quantized by ONNX Runtime's `quantize_static` after its training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from beside_resnet8 import resnet8
from rich.console import Console
from rich.table import Table
from stock_references import resnet
from trainings import Job, Row, add_options, run_all

from nas.candidates.candidate import Candidate
from search_spaces.block_configs import Record

RESAMPLES = 10_000
SEEDS = (1, 2, 3, 4, 5)
TEACHER = Path(tempfile.gettempdir()) / "compact-nas-resnet20.json"
COMMON = (
    "training.batch_size=128", "training.learning_rate=null", "training.label_smoothing=0.0", "training.precision=fp32",
)  # fmt: skip

SHORT_TAIL = "training.shares={dense: 0.65, pruned: 0.2, quantized: 0.15}"
HALF = "training.shares={dense: 0.3, pruned: 0.2, quantized: 0.5}"
DEFAULT_SHARES = "training.shares={dense: 0.5, pruned: 0.2, quantized: 0.3}"
TAUGHT = f"training.distillation={{teacher: reference, architecture: {TEACHER}}}"


Network = TypeVar("Network", bound=Record)


@dataclass(frozen=True)
class Scale:
    """What is trained on: a study's data, how many images of how many pixels, and the most epochs."""

    images: int
    pixels: int = 32
    channels: int = 3
    validation: float = 0.2
    most_epochs: int = 1000
    study: str = "studies/cifar10.yaml"

    @property
    def overrides(self) -> tuple[str, ...]:
        space = () if "digits" in self.study else (f"space.input_size={self.pixels}",)
        return (f"data.train_images={self.images}", f"data.validation={self.validation:g}", *space)

    def fitted(self, architecture: Network) -> Network:
        """The same network for these images."""
        return architecture.model_copy(update={"input_size": self.pixels, "input_channels": self.channels})


SCALES: Mapping[str, Scale] = {
    "full": Scale(10_000),
    "small": Scale(4000, pixels=16),  # for a CPU: a fifth of a minute an epoch and less
    "digits": Scale(700, pixels=8, channels=1, validation=0.4, study="studies/digits.yaml"),
    "tiny": Scale(500, validation=0.02, most_epochs=2),  # whether it works
}


@dataclass(frozen=True)
class Variant:
    """A recipe: what it overrides, and the weight formats and epochs that it is tried with."""

    name: str
    overrides: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("int8", "int4")
    epochs: tuple[int, ...] = (20, 5)

    def job(self, weight_format: str, epochs: int, seed: int, scale: Scale = SCALES["full"]) -> Job:
        candidate = Candidate(architecture=resnet(1)) if weight_format == "fp32" else resnet8(weight_format)
        candidate = candidate.model_copy(update={"architecture": scale.fitted(candidate.architecture)})
        time = f"training.epochs={min(epochs, scale.most_epochs)}"
        given = (*scale.overrides, *COMMON, time, DEFAULT_SHARES, *self.overrides)
        return Job(
            variant=f"{self.name} {weight_format} {epochs}",
            candidate=candidate.to_json(),
            seed=seed,
            overrides=given,
            study=scale.study,
            stock=weight_format == "fp32",
            notes={"recipe": self.name, "format": weight_format, "of_epochs": epochs},
        )


LIVE, TAIL = "training.batch_norm=live", "training.cycle=tail"
FOLDED = "training.batch_norm=folded"
WHOLE = "training.cycle=whole"
GROUPS: Mapping[str, tuple[Variant, ...]] = {
    "stage": (
        Variant("fp32", (FOLDED, WHOLE), formats=("fp32",)),
        Variant("folded", (FOLDED, WHOLE), formats=("int8", "int4", "int2")),
        Variant("live", (LIVE, WHOLE), formats=("int8", "int4", "int2")),
        Variant("live half", (LIVE, WHOLE, HALF), formats=("int8", "int4", "int2")),
        Variant("folded tail", (FOLDED, TAIL, SHORT_TAIL)),
        Variant("live tail", (LIVE, TAIL, SHORT_TAIL)),
        Variant("folded short", (FOLDED, WHOLE, SHORT_TAIL)),
        Variant("live short", (LIVE, WHOLE, SHORT_TAIL), formats=("int8", "int4", "int2")),
    ),
    "finalist": (
        Variant("ema 0.99", (LIVE, WHOLE, "training.ema=0.99"), formats=("int8",), epochs=(20,)),
        Variant("taught", (LIVE, WHOLE, TAUGHT), formats=("int8",), epochs=(20,)),
        Variant("smoothed", (LIVE, WHOLE, "training.label_smoothing=0.1"), formats=("int8",), epochs=(20,)),
    ),
    "long": (
        Variant("live", (LIVE, WHOLE), formats=("int8",), epochs=(60,)),
        Variant("taught", (LIVE, WHOLE, TAUGHT), formats=("int8",), epochs=(60,)),
        Variant("folded tail", (FOLDED, TAIL, SHORT_TAIL), formats=("int8",), epochs=(60,)),
        Variant("ema 0.998", (LIVE, WHOLE, "training.ema=0.998"), formats=("int8",), epochs=(60,)),
        Variant("smoothed", (LIVE, WHOLE, "training.label_smoothing=0.1"), formats=("int8",), epochs=(60,)),
    ),
}  # fmt: skip


def jobs_of(groups: Iterable[str], seeds: Sequence[int], scale: Scale = SCALES["full"]) -> list[Job]:
    """Group by group, in each the longest first, in that all variants of a seed: what is cut short is still paired."""
    return [
        variant.job(weight_format, epochs, seed, scale)
        for group in groups
        for epochs in (60, 20, 5)
        for seed in seeds
        for variant in GROUPS[group]
        if epochs in variant.epochs
        for weight_format in variant.formats
    ]


def accuracies(rows: Iterable[Row], split: str) -> dict[tuple[str, str, int], dict[int, float]]:
    """(recipe, format, epochs) -> seed -> accuracy; the stock files are a recipe of format int8 of their own."""
    found: dict[tuple[str, str, int], dict[int, float]] = {}
    for row in rows:
        found.setdefault((row["recipe"], row["format"], row["of_epochs"]), {})[row["seed"]] = row[split]
        if f"stock_{split}" in row:
            found.setdefault(("stock", "int8", row["of_epochs"]), {})[row["seed"]] = row[f"stock_{split}"]
    return found


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> dict[str, float] | None:
    """Mean of one - other over the seeds that both have, and its 95 % percentile bootstrap interval."""
    pairs = np.array([one[seed] - other[seed] for seed in sorted(set(one) & set(other))])
    if not len(pairs):
        return None
    chosen = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    low, high = np.percentile(pairs[chosen].mean(axis=1), [2.5, 97.5])
    return {"pairs": len(pairs), "mean": float(pairs.mean()), "low": float(low), "high": float(high)}


def summary(rows: Sequence[Row], split: str) -> list[dict[str, Any]]:
    """Each variant's mean, and its difference to the stock file and to batch norm folded, of as many epochs."""
    by_variant = accuracies(rows, split)
    return [
        {
            "recipe": recipe, "format": weight_format, "epochs": epochs, "accuracy": float(np.mean([*values.values()])),
            "to_fp32": difference(values, by_variant.get(("fp32", "fp32", epochs), {})),
            "to_stock": difference(values, by_variant.get(("stock", "int8", epochs), {})),
            "to_folded": difference(values, by_variant.get(("folded", weight_format, epochs), {})),
            "to_live": difference(values, by_variant.get(("live", weight_format, epochs), {})),
        }
        for (recipe, weight_format, epochs), values in by_variant.items()
    ]  # fmt: skip


def table_of(found: Sequence[Mapping[str, Any]], split: str) -> Table:
    table = Table(title=f"ResNet-8, {split} accuracy of the files (%)", box=None)
    for column in ("recipe", "format", "epochs", "accuracy", "to fp32", "to folded", "to live"):
        table.add_column(column, justify="left" if column in ("recipe", "format") else "right", no_wrap=True)
    for row in sorted(found, key=lambda row: (-row["epochs"], row["format"])):
        differences = (_told(row[key]) for key in ("to_fp32", "to_folded", "to_live"))
        name = (row["recipe"], row["format"], str(row["epochs"]))
        table.add_row(*name, f"{100 * row['accuracy']:.2f}", *differences)
    return table


def _told(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{100 * found['mean']:+.2f} ({100 * found['low']:+.2f} to {100 * found['high']:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--scale", choices=SCALES, default="full", help="small: 4000 images of 16 pixels")
    parser.add_argument("--show", action="store_true", help="train nothing more, show what there is")
    parser.add_argument("--json", type=Path, help="a file that gets the figures")
    options = parser.parse_args()
    scale = SCALES[options.scale]
    TEACHER.write_text(json.dumps(Candidate(architecture=scale.fitted(resnet(3))).to_json()))
    jobs = jobs_of(options.groups, options.seeds, scale)
    minutes = -1.0 if options.show else options.minutes
    rows = run_all(jobs, options.out, processes=options.processes, data=options.data, minutes=minutes)
    found = {split: summary(rows, split) for split in ("validation", "test")}
    for split, figures in found.items():
        Console(width=140).print(table_of(figures, split))
    if options.json:
        options.json.write_text(json.dumps({"scale": options.scale, "seeds": options.seeds, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
