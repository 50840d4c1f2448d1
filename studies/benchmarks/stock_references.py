"""ResNet-8 and ResNet-20 trained by our loop and quantized the stock way: what a front is compared with.

    python studies/benchmarks/stock_references.py studies/cifar10.yaml --json studies/results/cifar10-references.json

Data, split and training options are the study's, so that epochs are equal; the networks are He et al.'s for CIFAR
(arXiv:1512.03385; ResNet-8 as in MLPerf Tiny) with 1x1 shortcuts. Each is measured as float32 and as
`quantize_static` makes it, by the project's protocol, and scored on the test split.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from nas.candidates.candidate import Candidate
from nas.data import load
from nas.evaluate import pipeline_of
from nas.machine import threads_per_worker
from nas.measuring.costs import measure_files
from nas.measuring.scoring import accuracy
from nas.measuring.turns import pausing_for_measurements
from nas.records import Measurement
from nas.runtimes.onnx.stock import quantize_stock
from nas.runtimes.onnxruntime import Runner
from nas.shipping import ship
from nas.stock import calibration_images
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.workbench import Workbench, build
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import ResidualConfig

DEPTHS = {"ResNet-8": 1, "ResNet-20": 3}
MODELS = Path(tempfile.gettempdir()) / "compact-nas-references"
INT8_FILE = "static.onnx"


def resnet(depth: int) -> Architecture:
    block = ResidualConfig(kind="residual", kernel=3)
    stages = (
        StageConfig(width=16, stride=1, blocks=(block,) * depth),
        StageConfig(width=32, stride=2, blocks=(block,) * depth),
        StageConfig(width=64, stride=2, blocks=(block,) * depth),
    )
    return Architecture(input_size=32, input_channels=3, stem=StemConfig(width=16), stages=stages, head=None)


def reference(name: str, bench: Workbench, folder: Path) -> dict[str, dict[str, Any]]:
    """Train one network and make both files; figures by format. A killed training goes on where it was."""
    study, candidate = bench.study, Candidate(architecture=resnet(DEPTHS[name]))
    folder = folder / name
    seed = study.search.seed + 1  # as finalists have
    counts = study.model_dump(mode="json", include={"data", "training"}, exclude={"training": {"shares"}})
    keep_only(folder, {"seed": seed, **counts})  # it is trained dense, whatever the shares
    task = Task(0, candidate, "reference", seed, study.training.epochs, folder)
    network = build(candidate, bench, seed=seed, dropout=0.0)
    with pausing_for_measurements() as give_way:
        network = pipeline_of(task, bench, None).fit(network, give_way).network.cpu().eval()
    shipped = ship(network, candidate, folder, header=bench.header, targets=[study.target])
    files = {"fp32": shipped[study.target.name], "int8": folder / INT8_FILE}
    quantize_stock(files["fp32"], files["int8"], calibration_images(bench, seed))
    return {weights: figures(file, bench) for weights, file in files.items()}


def keep_only(folder: Path, settings: dict[str, Any]) -> None:
    """An empty folder, unless it holds a training under the same settings: then that goes on."""
    note = folder / "settings.json"
    if not note.exists() or json.loads(note.read_text(encoding="utf-8")) != settings:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        note.write_text(json.dumps(settings))


def figures(file: Path, bench: Workbench) -> dict[str, Any]:
    target = bench.study.target
    costs: Measurement = measure_files({target.name: file}, [target], origin="shipped file")
    test = accuracy(Runner(file, target), bench.data.load_test())
    return {
        "test_accuracy": test.accuracy,
        "size_bytes": costs.size_bytes,
        "latency_ms": costs.cost("latency_ms", target.name),
        "parameters": costs.parameters,
        "macs": costs.macs,
    }


def bench_of(study: Study) -> Workbench:
    torch.set_num_threads(threads_per_worker(1, 32))
    return Workbench(study, load(study.data, input_size=32, seed=study.search.seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=MODELS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench = bench_of(load_study(options.study, options.overrides))
    epochs = bench.study.training.epochs
    found = {name: reference(name, bench, options.folder) for name in DEPTHS}
    table = Table(title=f"{epochs} epochs, post-training quantization by ONNX Runtime")
    for column in ("network", "format", "test", "bytes", "ms", "parameters"):
        table.add_column(column, justify="left" if column in ("network", "format") else "right")
    for name, formats in found.items():
        for weights, row in formats.items():
            cells = (f"{row['test_accuracy']:.2%}", f"{row['size_bytes']:,}", f"{row['latency_ms']:.3f}")
            table.add_row(name, weights, *cells, f"{row['parameters']:,}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"epochs": epochs, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
