"""The usual way to few bits: a finished float32 file quantized by the runtime's own tool, not trained any further."""

from __future__ import annotations

import json

import numpy as np

from nas.errors import CandidateFailed
from nas.files import sha256_of, write_atomically
from nas.measuring.costs import layer_reports, measure_files
from nas.measuring.scoring import as_float
from nas.measuring.turns import pausing_for_measurements
from nas.recording import Clock, finish
from nas.records import Evaluation, State
from nas.run_folder.paths import read_evaluation
from nas.runtimes.onnx.stock import quantize_stock
from nas.runtimes.runtime import Array, file_names, opened_here, runtime_of
from nas.shipping import score_file
from nas.tasks import Task
from nas.workbench import Workbench

CALIBRATION_IMAGES = 512


def quantize_after_training(task: Task, bench: Workbench, clock: Clock) -> Evaluation:
    """Quantize the network in `task.made_from`, measure and score its file, and write the artifact folder.

    Every target is given the one file. There is no network of torch's to compare it with, so parity is not checked.
    """
    assert task.made_from is not None, "a task that is made from nothing"
    study, bench = bench.study, bench.for_task(task)
    trained = read_evaluation(task.made_from)
    if trained is None or trained.state is not State.COMPLETE:
        raise CandidateFailed(f"{task.made_from.name}: holds no finished network to quantize")
    name = file_names(study.targets)[study.target.name]
    file = task.folder / name
    with clock("quantize"), pausing_for_measurements():
        quantize_stock(task.made_from / name, file, calibration_images(bench, task.seed))
    write_atomically(task.folder / "candidate.json", json.dumps(task.candidate.to_json(), indent=1))
    with clock("measure"):
        files = {target.name: file for target in study.targets}
        measurement = measure_files(files, study.targets, origin="shipped file", places=bench.places)
    with clock("score"), pausing_for_measurements() as give_way:
        scores = score_file(file, bench, test=task.reads_test, give_way=give_way)
    asked = task.candidate.integer_layers(len(bench.data.class_names))
    runtime = runtime_of(study.target)
    ran = runtime.integer_layers(file, opened_here(study.target))
    return finish(
        task,
        bench,
        clock,
        State.COMPLETE,
        epochs=trained.epochs,
        precision=trained.precision,
        measurement=measurement,
        model_sha256={name: sha256_of(file)},
        asked_integer=asked,
        ran_integer=tuple(layer for layer in asked if layer in ran),
        layers=layer_reports(task.candidate, len(bench.data.class_names), ran, runtime.zeros(file).layers),
        **dict(scores),
    )


def calibration_images(bench: Workbench, seed: int) -> Array:
    """Training images of all classes, float32 (N, C, H, W), from which ranges are set; the same for the same seed."""
    train = bench.data.train
    count = min(CALIBRATION_IMAGES, len(train))
    chosen = np.random.default_rng(seed).choice(len(train), count, replace=False)
    return as_float(train.take(np.sort(chosen)).images)
