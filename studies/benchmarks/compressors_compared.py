"""What compressors are worth: one network by many of them, accuracies and bytes of the files, paired by seed.

    python studies/benchmarks/compressors_compared.py --processes 2 --out compressors.jsonl \
        --json studies/results/compressors.json --plot studies/results/compressors.png
    python studies/benchmarks/compressors_compared.py --scale cifar10 --groups formats --seeds 1 \
        --data FOLDER --processes 2 --out cifar10.jsonl

ResNet-8 (as in MLPerf Tiny, with 1x1 shortcuts) on scikit-learn's digits, 700 images for training, or on 10 000 images
of CIFAR-10, which lies in FOLDER, what study files name $COMPACT_NAS_DATA. Every variant is trained with every seed;
each is compared with one other, as the mean of paired differences on the test split with a 95 % bootstrap interval.
A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from beside_resnet8 import resnet8
from recipes import SCALES as IMAGES
from recipes import Scale, difference
from rich.console import Console
from rich.table import Table
from trainings import Job, Row, add_options, run_all

from compressors.plan import CompressionPlan, kept_channels
from compressors.steps import QUANTIZATIONS, WHOLE_NETWORK
from nas.candidates.candidate import Candidate, canonical

SEEDS = tuple(range(1, 9))
SCALES: Mapping[str, tuple[Scale, int]] = {  # images, and epochs
    "digits": (IMAGES["digits"], 20),
    "cifar10": (IMAGES["full"], 10),
    "tiny": (Scale(100, pixels=8, channels=1, validation=0.4, study="studies/digits.yaml"), 2),  # whether it works
}
ARCHITECTURE = resnet8("fp32").architecture
INNER = {group.name: group.width for group in ARCHITECTURE.groups()}
STOCK = "quantize_static"  # ONNX Runtime's own, of the fp32 network
FORMATS = (
    "int8", "int6", "int5", "int4", "int3", "int2", "pow2", "ternary", "binary", "codebook4", "codebook3", "codebook2",
)  # fmt: skip
CRITERIA = (
    "l1", "l2", "bn_scale", "taylor", "saliency", "momentum", "apoz", "geometric_median", "random", "leave_one_out",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A way to make the network smaller: a plan, what it overrides in the study, and the variant to compare it with."""

    name: str
    plan: CompressionPlan = field(default_factory=CompressionPlan)
    overrides: tuple[str, ...] = ()
    beside: str = ""
    stock: bool = False

    def job(self, group: str, seed: int, scale: Scale, epochs: int) -> Job:
        candidate = canonical(Candidate(architecture=scale.fitted(ARCHITECTURE), plan=self.plan))
        common = ("training.learning_rate=null", "training.label_smoothing=0.0", "training.precision=fp32")
        return Job(
            variant=self.name,
            candidate=candidate.to_json(),
            seed=seed,
            overrides=(*scale.overrides, *common, f"training.epochs={epochs}", *self.overrides),
            study=scale.study,
            stock=self.stock,
            notes={"group": group, "beside": self.beside},
        )


def in_format(weight_format: str) -> CompressionPlan:
    """All weights in a format, those of the first and last layer in int8."""
    return resnet8(weight_format).plan


def pruned(ratio: float) -> CompressionPlan:
    """A share of the inner channels of every block removed; fp32."""
    return CompressionPlan(kept={name: kept_channels(width, ratio, 4) for name, width in INNER.items()})


def after_training(weight_format: str) -> CompressionPlan:
    """The same, quantized after the training."""
    return in_format(weight_format).model_copy(update={"steps": {QUANTIZATIONS["static"]: dict(WHOLE_NETWORK)}})


def with_step(step: str, decision: Any, layers: Sequence[str]) -> CompressionPlan:
    """One decision for each of the layers; fp32."""
    return CompressionPlan(steps={step: dict.fromkeys(layers, decision)})


def factored(method: str) -> CompressionPlan:
    """All 3x3 layers within blocks factored, in about as many parameters as half of the inner channels have."""

    def parameters(plan: CompressionPlan) -> int:
        return canonical(Candidate(architecture=ARCHITECTURE, plan=plan)).parameters(10)

    plans = (with_step("low_rank", {"method": method, "ratio": share / 100}, WIDE) for share in range(30, 90))
    return min(plans, key=lambda plan: abs(parameters(plan) - parameters(pruned(0.5))))


def taught(teacher: str, **weights: float) -> str:
    told = "".join(f", {name}: {weight}" for name, weight in weights.items())
    return f"training.distillation={{teacher: {teacher}{told}}}"


FACTORINGS = ("svd", "spatial_svd", "tucker", "cp")
LAYERS = [layer.name for layer in ARCHITECTURE.layers(1)]
WIDE = [layer.name for layer in ARCHITECTURE.layers(1) if layer.kernel == 3 and layer.block.startswith("stage")]
SPARSE, SMALL = 0.9, CompressionPlan(kept=pruned(0.5).kept, formats=in_format("int4").formats)
GROUPS: Mapping[str, tuple[Variant, ...]] = {
    "formats": (
        Variant("fp32", stock=True),
        *(Variant(name, in_format(name), beside="fp32") for name in FORMATS),
    ),
    "criteria": tuple(
        Variant(
            f"{name}, {ratio:g}",
            pruned(ratio),
            (f"compression.importance={name}",),
            beside=f"leave_one_out, {ratio:g}",
        )
        for ratio in (0.5, 0.75)
        for name in CRITERIA
    ),
    "after training": (
        Variant("int8, trained", in_format("int8"), beside="int8, minmax"),
        Variant("int4, trained", in_format("int4"), beside="int4, minmax"),
        *(
            Variant(
                f"{fmt}, {calibration}", after_training(fmt), (f"training.calibration={calibration}",),
                beside=f"{fmt}, minmax" if calibration != "minmax" else STOCK if fmt == "int8" else "",
            )
            for fmt in ("int8", "int4")
            for calibration in ("minmax", "percentile", "mse", "entropy")
        ),
        Variant(
            "int4, minmax, biases not corrected", after_training("int4"), ("training.bias_correction=false",),
            beside="int4, minmax",
        ),
    ),
    "low rank": (
        Variant("half of the channels", pruned(0.5)),
        *(Variant(name, factored(name), beside="half of the channels") for name in FACTORINGS),
    ),
    "masks": (
        Variant("by size", with_step("masked", {"ratio": SPARSE}, LAYERS)),
        Variant("by size, one budget", with_step("masked", {"ratio": SPARSE}, ["network"]), beside="by size"),
        Variant(
            "by sensitivity", with_step("masked", {"ratio": SPARSE, "by": "sensitivity"}, LAYERS), beside="by size"
        ),
        Variant(
            "growing", with_step("masked", {"ratio": SPARSE}, LAYERS), ("compression.pruning_schedule=iterative",),
            beside="by size",
        ),
        Variant(
            "back at early weights", with_step("masked", {"ratio": SPARSE}, LAYERS), ("compression.rewind=0.2",),
            beside="by size",
        ),
    ),
    "distillation": (
        Variant("none", SMALL),
        Variant("self", SMALL, (taught("self"),), beside="none"),
        Variant("self, features", SMALL, (taught("self", features_weight=1.0),), beside="none"),
        Variant("self, attention", SMALL, (taught("self", attention_weight=100.0),), beside="none"),
        Variant("reference", SMALL, (taught("reference"),), beside="none"),
    ),
}  # fmt: skip


def jobs_of(groups: Iterable[str], seeds: Sequence[int], scale: str = "digits") -> list[Job]:
    """All variants of a seed before the next seed: what is cut short is paired."""
    images, epochs = SCALES[scale]
    return [variant.job(group, seed, images, epochs) for group in groups for seed in seeds for variant in GROUPS[group]]


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of each variant: means over the seeds, and its paired difference on test to the one beside it."""
    by_variant: dict[str, list[Row]] = {}
    for row in [*rows, *map(_of_stock, (row for row in rows if "stock_test" in row))]:
        by_variant.setdefault(row["variant"], []).append(row)
    tests = {name: {row["seed"]: row["test"] for row in own} for name, own in by_variant.items()}
    return [
        {
            "group": own[0]["group"], "variant": variant, "seeds": len(own), "beside": own[0]["beside"],
            **{key: float(np.mean([row[key] for row in own])) for key in ("validation", "test", "size_bytes")},
            "difference": difference(tests[variant], tests.get(own[0]["beside"], {})),
        }
        for variant, own in by_variant.items()
    ]  # fmt: skip


def _of_stock(row: Row) -> Row:
    """ONNX Runtime's `quantize_static` of a network, as a variant of its own."""
    told = {name: row[f"stock_{name}"] for name in ("validation", "test", "size_bytes")}
    return {**row, **told, "variant": STOCK, "beside": row["variant"]}


def table_of(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    for column in ("group", "variant", "seeds", "test (%)", "KB", "to", "difference (points)"):
        table.add_column(column, justify="left" if column in ("group", "variant", "to") else "right", no_wrap=True)
    for row in found:
        table.add_row(
            row["group"], row["variant"], str(row["seeds"]), f"{100 * row['test']:.2f}",
            f"{row['size_bytes'] / 1000:.1f}", row["beside"], told(row["difference"]),
        )  # fmt: skip
    return table


def told(found: Mapping[str, float] | None) -> str:
    """A paired difference in points, with its interval."""
    if found is None:
        return ""
    return f"{100 * found['mean']:+.2f} ({100 * found['low']:+.2f} to {100 * found['high']:+.2f})"


def plot(found: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Accuracy against bytes, a point for each format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for row in (row for row in found if row["group"] == "formats"):
        axes.scatter(row["size_bytes"] / 1000, 100 * row["test"], color="tab:blue" if row["beside"] else "tab:orange")
        axes.annotate(row["variant"], (row["size_bytes"] / 1000, 100 * row["test"]), (4, 3), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xlabel("file size (KB)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--scale", choices=SCALES, default="digits")
    parser.add_argument("--show", action="store_true", help="train nothing more, show what there is")
    parser.add_argument("--json", type=Path, help="a file that gets the figures")
    parser.add_argument("--plot", type=Path, help="a picture of formats: accuracy against bytes")
    options = parser.parse_args()
    jobs = jobs_of(options.groups, options.seeds, options.scale)
    minutes = -1.0 if options.show else options.minutes
    rows = run_all(jobs, options.out, processes=options.processes, data=options.data, minutes=minutes)
    found = summary(rows)
    Console(width=130).print(table_of(found))
    if options.json:
        options.json.write_text(json.dumps({"scale": options.scale, "variants": found}, indent=1) + "\n")
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
