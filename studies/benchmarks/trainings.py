"""Many trainings side by side on one device: accuracies of the files they end in, one line of JSON for each.

    python studies/benchmarks/trainings.py jobs.json --data FOLDER --processes 14 --out trainings.jsonl

`jobs.json` is a list of objects with the fields of `Job`. FOLDER is what study files name $COMPACT_NAS_DATA. Latency is
not measured, and no constraint binds. Jobs whose line is in the output already are not done again; those that failed
are. Other scripts import `Job` and `run_all`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.candidates.candidate import Candidate
from nas.data import DataSet, load
from nas.evaluate import pipeline_of
from nas.measuring.scoring import accuracy
from nas.run_folder.paths import RunFolder
from nas.runtimes.onnx.stock import quantize_stock
from nas.runtimes.onnxruntime import Runner
from nas.shipping import emit_files
from nas.stock import calibration_images
from nas.study import Data, Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.teacher import teacher_logits
from nas.training.inference import predict
from nas.workbench import Workbench, build

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: a candidate, as in candidate.json, by a study file with overrides (KEY=VALUE).

    With `stock` the file is quantized by ONNX Runtime's `quantize_static` as well, and that one is scored beside it.
    `variant` and `notes` come back in the row; they are not part of what is done.
    """

    variant: str
    candidate: Row
    seed: int
    overrides: Sequence[str] = ()
    study: str = "studies/cifar10.yaml"
    stock: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same training."""
        done = {name: value for name, value in asdict(self).items() if name not in ("variant", "notes")}
        return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()[:16]


def run_all(
    jobs: Sequence[Job], out: Path, *, processes: int, data: Path | None = None, minutes: float | None = None
) -> list[Row]:
    """Do what is not done yet, in the order given; the rows of all jobs that are done and did not fail.

    With `minutes` no training begins later than that.
    """
    if data is not None:
        os.environ["COMPACT_NAS_DATA"] = str(data.resolve())
    done, start = rows_of(out), time.monotonic()
    if out.exists() and not out.read_bytes().endswith(b"\n"):
        with out.open("a", encoding="utf-8") as file:
            file.write("\n")  # behind a line that a kill cut short
    waiting = list({job.key: job for job in jobs if job.key not in done}.values())
    print(f"{len(jobs)} trainings, {len(waiting)} to do", flush=True)
    deadline = None if minutes is None else time.time() + 60 * minutes
    for number, row in enumerate(_in_processes(waiting, processes, deadline), 1):
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if "error" not in row:
            done[row["key"]] = row
        print(f"{number}/{len(waiting)} after {time.monotonic() - start:.0f} s: {_line(row)}", flush=True)
    named = ((job, done[job.key]) for job in jobs if job.key in done)
    return [{**row, "variant": job.variant, "seed": job.seed, **job.notes} for job, row in named]


def rows_of(out: Path) -> dict[str, Row]:
    """Trainings that did not fail, by key; a line that a kill cut short is none."""
    found: dict[str, Row] = {}
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "error" not in row:
            found[row["key"]] = row
    return found


def _line(row: Row) -> str:
    if "error" in row:
        return f"{row['variant']}, seed {row['seed']}: {row['error']}"
    accuracies = f"validation {row['validation']:.4f}, test {row['test']:.4f}"
    return f"{row['variant']}, seed {row['seed']}: {accuracies}, {row['seconds']:.0f} s"


def _in_processes(jobs: Sequence[Job], processes: int, deadline: float | None) -> Iterator[Row]:
    """Rows as they come. Processes are started afresh: a forked one could not use a GPU."""
    asked = [(job, deadline) for job in jobs]
    if processes == 1:
        yield from (row for each in asked if (row := _row(each)) is not None)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from (row for row in pool.imap_unordered(_row, asked) if row is not None)


def _row(asked: tuple[Job, float | None]) -> Row | None:
    """A job's row; one that fails says why; None after the deadline."""
    job, deadline = asked
    if deadline is not None and time.time() > deadline:
        return None
    torch.set_num_threads(1)
    start = time.monotonic()
    row: Row = {"key": job.key, "variant": job.variant, "seed": job.seed}
    try:
        row |= train(job)
    except Exception as error:  # one training that fails is no reason to lose the others
        row["error"] = f"{type(error).__name__}: {error}"
    return row | {"seconds": round(time.monotonic() - start, 2)}


def train(job: Job) -> Row:
    """Train, emit and score one job: accuracies on validation and test, read off the file."""
    study = load_study(Path(job.study), job.overrides)
    candidate = Candidate.from_json(job.candidate)
    bench = bench_of(study, candidate.architecture.input_size)
    recorded = teacher_logits(bench) if study.training.needs_reference else None
    with tempfile.TemporaryDirectory() as folder:
        task = Task(0, candidate, "reference", job.seed, study.training.epochs, Path(folder), is_constrained=False)
        network = build(candidate, bench, seed=job.seed, dropout=study.training.resolved({}).dropout)
        trained = pipeline_of(task, bench, recorded).fit(network, lambda: None)
        network = trained.network.eval()
        said = predict(network, torch.from_numpy(bench.data.validation.images).to(bench.device)).argmax(1).numpy()
        file = emit_files(network.cpu(), Path(folder), bench.header, [study.target])[study.target.name]
        row = scores(file, bench) | {
            "torch_validation": float(np.mean(said == bench.data.validation.labels)),
            "epochs": trained.epochs,
            "candidate": candidate.id,
            "parameters": candidate.resulting(trained.plan).parameters(len(bench.data.class_names)),
            "size_bytes": file.stat().st_size,
        }
        if job.stock:
            quantized = Path(folder) / "stock.onnx"
            quantize_stock(file, quantized, calibration_images(bench, job.seed))
            row |= {f"stock_{name}": value for name, value in scores(quantized, bench).items()}
            row["stock_size_bytes"] = quantized.stat().st_size
        return row


def scores(file: Path, bench: Workbench) -> Row:
    """What the runtime makes of a file."""
    runner = Runner(file, bench.study.target)
    parts = {"validation": bench.data.validation, "test": bench.data.load_test()}
    return {name: accuracy(runner, images).accuracy for name, images in parts.items()}


def bench_of(study: Study, input_size: int) -> Workbench:
    """A bench with images that are read once in each process, and a teacher that is trained once for all."""
    data = _data(study.data.model_dump_json(), input_size, study.search.seed)
    teaching = study.model_dump_json(include={"data", "training"})
    folder = Path(tempfile.gettempdir()) / "compact-nas-trainings" / hashlib.sha256(teaching.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return Workbench(study, data, folder=RunFolder(folder))


@cache
def _data(section: str, input_size: int, seed: int) -> DataSet:
    return load(Data.model_validate_json(section), input_size=input_size, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=Path, help="a JSON list of jobs")
    add_options(parser)
    options = parser.parse_args()
    jobs = [Job(**fields) for fields in json.loads(options.jobs.read_text(encoding="utf-8"))]
    rows = run_all(jobs, options.out, processes=options.processes, data=options.data, minutes=options.minutes)
    print(f"{len(rows)} of {len(jobs)} done")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run_all` needs to be told on a command line."""
    parser.add_argument("--data", type=Path, help="what study files name $COMPACT_NAS_DATA")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="no training begins later; by default no limit")
    parser.add_argument("--out", type=Path, required=True, help="a file of JSON lines, continued where it exists")


if __name__ == "__main__":
    main()
