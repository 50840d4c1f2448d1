"""The network before and after: two evaluations, whose figures are read off the files that would ship."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from compressors.pipeline import folded
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.compression.logits import Distance, distance
from nas.errors import CandidateFailed
from nas.evaluate import evaluate_safely, shipped, structure_costs, untrained_shape
from nas.measuring.scoring import as_float
from nas.recording import Clock
from nas.records import Evaluation, State
from nas.run_folder.paths import read_evaluation
from nas.runtimes.runtime import Array, opened_here, runtime_of
from nas.shipping import emit_files
from nas.study import Study
from nas.tasks import Task, Tell, silent
from nas.workbench import Workbench, build

CLOSED_FORM = {"parameters", "macs"}  # costs that take no file
SURE = 3  # standard deviations of a forecast's error
COMPARED_IMAGES = 2048  # of validation, on which logits are compared


def task_of(study: Study, candidate: Candidate, folder: Path) -> Task:
    """A finalist's evaluation, which reads the test split, in a folder of its own.

    Limits do not end it: plans that break them are refused before, and what a table shows is told where it breaks one.
    """
    return Task(
        0,
        candidate,
        "final",
        study.search.seed,
        study.training.epochs,
        folder,
        training=middle_numbers(study.training),
        reads_test=True,
        is_constrained=False,
    )


def as_it_is(task: Task, bench: Workbench, *, tell: Tell = silent) -> Evaluation:
    """The evaluation of a network with the weights that it begins with: nothing is trained. Done once per folder."""
    if (found := read_evaluation(task.folder)) is not None:
        return found
    task.folder.mkdir(parents=True, exist_ok=True)
    clock, bench = Clock(tell=tell), bench.for_task(task)
    with clock("build"):
        network = build(task.candidate, bench, seed=task.seed, dropout=0.0).cpu().eval()
        network = folded(network, ())
    return shipped(network, CompressionPlan(), task, bench, clock, epochs=0.0)


def compressed(task: Task, bench: Workbench, *, tell: Tell = silent) -> Evaluation:
    """The evaluation of the compressed network, trained from the weights that the whole one has. Done once per folder.

    Raises CandidateFailed where it failed.
    """
    found = read_evaluation(task.folder)
    if found is None or found.state is State.FAILED:
        task.folder.mkdir(parents=True, exist_ok=True)
        found = evaluate_safely(task, bench, tell=tell)
    if found.state is State.FAILED:
        raise CandidateFailed(found.reason)
    return found


def foretold_costs(candidate: Candidate, bench: Workbench, names: Collection[str]) -> Mapping[str, float] | None:
    """Those costs as they are foretold, a file's bytes with what the forecast may be off; None where they cannot be."""
    told = runtime_of(bench.study.target).forecast(candidate, bench.header)
    if told is None or "latency_ms" in names:
        return None
    classes = len(bench.data.class_names)
    costs = {"parameters": candidate.parameters(classes), "macs": candidate.macs(classes)}
    peak = {"peak_memory_bytes": told.peak_memory_bytes} if "peak_memory_bytes" in names else {}
    return {**costs, **peak, "size_bytes": told.size_bytes + SURE * told.size_sd}


def costs_of(candidate: Candidate, bench: Workbench, folder: Path, names: Collection[str]) -> Mapping[str, float]:
    """Those costs of a candidate, by name, that its structure tells: off an untrained file, made in `folder`.

    Latency alone takes measuring, and is measured only where it is among the `names`.
    """
    classes, target = len(bench.data.class_names), bench.study.target
    if set(names) <= CLOSED_FORM:
        return {"parameters": candidate.parameters(classes), "macs": candidate.macs(classes)}
    task = task_of(bench.study, candidate, folder)
    bench = bench.for_task(task)
    folder.mkdir(parents=True, exist_ok=True)
    network = build(candidate, bench, seed=task.seed, dropout=0.0)
    try:
        if "latency_ms" in names:
            return structure_costs(task, bench, network, Clock()).costs(target.name)
        shape = untrained_shape(candidate, bench, network)
        file = emit_files(shape, folder, bench.header, [target])[target.name]
        return {**asdict(runtime_of(target).costs(file)), "size_bytes": file.stat().st_size}
    finally:
        shutil.rmtree(folder)


def logits_of(folder: Path, bench: Workbench) -> Array:
    """What a shipped file answers on validation images (N, classes), in the size that its network has them."""
    target = opened_here(bench.study.target)
    runtime = runtime_of(target)
    size = Candidate.from_json(json.loads((folder / "candidate.json").read_bytes())).architecture.input_size
    images = bench.at(size).data.validation.evenly_spaced(COMPARED_IMAGES).images
    found: Array = runtime.open(folder / runtime.file_name, target).predict(as_float(images))
    return found


def apart(before: Path, after: Path, bench: Workbench) -> Distance:
    """How far the answers of two shipped files lie apart."""
    return distance(logits_of(before, bench), logits_of(after, bench))
