"""Evaluations from closed forms, for benchmarks of what happens around training: no network is built or trained.

Candidates, parameters, multiply-accumulates and layers are the real ones. File size adds a fixed overhead to the
weights' bytes; latency and accuracy are invented functions of size, formats and kernels, with noise. Nothing made here
is a result about networks.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from compressors.plan import BITS
from nas.candidates.candidate import Candidate
from nas.data import class_count
from nas.measuring.costs import layer_reports
from nas.records import Evaluation, Fingerprint, Latency, Measurement, Parity, State, score
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task

VALIDATION_IMAGES, TEST_IMAGES = 5000, 10_000
INVENTED = Fingerprint(
    device="invented", instruction_sets=(), runtime="none", provider="none", threads=1, batch=1
)  # fmt: skip
STUDY = """
name: synthetic
data: {source: digits}
space: {family: mobile, preset: 32px}
compression:
  pruning_ratio: [0.0, 0.25, 0.5, 0.75]
  weight_format: [int2, int4, int8, fp32]
  granularity: block
objectives: [accuracy, parameters, latency_ms, size_bytes]
training: {epochs: 30}
"""


def synthetic_study(folder: Path, overrides: list[str]) -> Study:
    """The study of these benchmarks: the 32px space at block granularity, 85 genes."""
    path = folder / "synthetic.yaml"
    path.write_text(STUDY)
    return load_study(path, overrides)


def evaluate(task: Task, study: Study) -> Evaluation:
    """What a worker would record, invented where the module says so."""
    classes, candidate = class_count(study.data), task.candidate
    rng = random.Random(f"{candidate.id}-{task.seed}-{task.phase}")
    layers = layer_reports(candidate, classes, frozenset(candidate.plan.formats))
    truth = _accuracy(candidate, classes) + rng.gauss(0, 0.008)
    accuracy = min(0.99, max(0.1, truth))
    final = task.reads_test
    return Evaluation(
        candidate_id=candidate.id,
        structure_id=candidate.structure_id(classes),
        phase=task.phase,
        seed=task.seed,
        state=State.COMPLETE,
        epochs=task.epochs,
        budget=study.training.epochs,
        accuracy_source="simulated",
        target=study.target.name,
        measurement=_measurement(candidate, study, classes, rng),
        validation=score(round(accuracy * VALIDATION_IMAGES), VALIDATION_IMAGES),
        test=score(round((accuracy - 0.003) * TEST_IMAGES), TEST_IMAGES) if final else None,
        train_accuracy=min(1.0, accuracy + 0.01 * math.log10(candidate.parameters(classes))),
        parity=Parity(
            images=512, max_difference=0.01, tolerance=0.02, within_tolerance=1.0, argmax_agreement=1.0,
            clear_margin_disagreements=0, accuracy_difference=0.0,
        ),
        asked_integer=tuple(candidate.plan.formats),
        ran_integer=tuple(candidate.plan.formats),
        layers=layers,
        seconds={"train": 30.0, "measure": 0.5},
        started_at="2030-01-01T00:00:00+00:00",
    )  # fmt: skip


def _accuracy(candidate: Candidate, classes: int) -> float:
    layers = candidate.layers(classes)
    bits = sum(layer.weight_count * BITS[candidate.plan.format_of(layer.name)] for layer in layers)
    mean_bits = bits / sum(layer.weight_count for layer in layers)
    kernels = sum(layer.kernel for layer in layers) / len(layers)
    return float(0.95 - 2.2 / candidate.parameters(classes) ** 0.28 - 0.25 / mean_bits**1.6 + 0.02 * kernels)


def _measurement(candidate: Candidate, study: Study, classes: int, rng: random.Random) -> Measurement:
    layers, macs = candidate.layers(classes), candidate.macs(classes)
    integer = sum(layer.macs for layer in layers if layer.name in candidate.plan.formats) / macs
    latency_ms = (0.02 + macs / 4e7 * (1 - 0.5 * integer) + 0.002 * len(layers)) * rng.uniform(0.98, 1.02)
    samples = tuple(round(1e3 * latency_ms * rng.uniform(1, 1.2), 2) for _ in range(300))
    latency = Latency(
        latency_ms=latency_ms, stable=True, protocol="invented", control_ms=0.02, fingerprint=INVENTED,
        passes_us=(samples, samples),
    )  # fmt: skip
    return Measurement(
        origin="shipped file",
        parameters=candidate.parameters(classes),
        macs=macs,
        size_bytes=candidate.weight_bytes(classes) + 400 * len(layers),
        peak_memory_bytes=4 * max(layer.out_channels * layer.output_size**2 for layer in layers),
        latency={target.name: latency for target in study.targets},
    )
