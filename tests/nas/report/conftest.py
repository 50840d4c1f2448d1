"""A synthetic run folder of real records: candidates drawn from the space, evaluations around them."""

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.pareto import non_dominated
from nas.records import Evaluation, Fingerprint, Latency, LayerReport, Measurement, Parity, State, score
from nas.run_folder.columns import FINALIST_COLUMNS, FRONT_COLUMNS, TRIAL_COLUMNS
from nas.run_folder.rows import structure_of
from nas.study import Compression, Data, ReportOptions, Study, Target
from nas.study.file import dump_study
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

CLASSES = 10
IMAGES = 180
INFEASIBLE_REASON = "latency_ms {:.4f} is above its max 0.09"


@dataclass
class RunFolder:
    """The folder and what was put in it, for tests to compare with."""

    path: Path
    study: Study
    trials: list[dict[str, Any]] = field(default_factory=list)
    finalists: list[dict[str, Any]] = field(default_factory=list)

    def state(self, state: str) -> list[dict[str, Any]]:
        return [row for row in self.trials if row["state"] == state]

    @property
    def front(self) -> list[dict[str, Any]]:
        with (self.path / "front.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def rewrite(self, name: str, change: Callable[[dict[str, str]], None]) -> None:
        """Change every row of a table in place."""
        with (self.path / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            change(row)
        write_csv(self.path / name, tuple(rows[0]), rows)


def make_study(**changes: Any) -> Study:
    given = {
        "name": "digits-demo",
        "data": Data(source="digits"),
        "space": MobileSpace.model_validate({"preset": "8px"}),
        "compression": Compression(pruning_ratio=(0.0, 0.25, 0.5), weight_format=("fp32", "int8", "int4")),
        "targets": (Target(name="cpu"), Target(name="cpu2", threads=2)),
        "report": ReportOptions(title="Digits, small and fast"),
    }
    return Study(**(given | changes))


def make_candidate(study: Study, seed: int) -> Candidate:
    pick = Pick(random.Random(seed).choice)
    return sample(pick, study.space, study.compression, input_channels=study.data.input_channels)


def make_measurement(candidate: Candidate, *, origin: str = "shipped file") -> Measurement:
    macs, integer = candidate.macs(CLASSES), len(candidate.plan.formats)
    share = integer / len(candidate.layers(CLASSES))
    base = 0.008 + macs / 9e6 * (1 - 0.45 * share) + 0.0011 * len(candidate.layers(CLASSES))
    return Measurement(
        origin=origin,
        parameters=candidate.parameters(CLASSES),
        macs=macs,
        size_bytes=candidate.weight_bytes(CLASSES) + 3100,
        peak_memory_bytes=4096 + macs // 90,
        latency={"cpu": _latency(base, 1), "cpu2": _latency(base * 0.7, 2)},
    )


def _latency(latency_ms: float, threads: int) -> Latency:
    mark = Fingerprint(
        device="Example CPU 3000", instruction_sets=("avx2", "avx512_vnni"), runtime="onnxruntime 1.31.0",
        provider="CPUExecutionProvider", threads=threads, batch=1,
    )  # fmt: skip
    samples = tuple(tuple(1000 * latency_ms * f for f in (1.2, 1.0, 1.05)) for _ in range(2))
    return Latency(
        latency_ms=latency_ms, stable=True, protocol="interleaved-minimum/1", control_ms=0.021,
        fingerprint=mark, passes_us=samples,
    )  # fmt: skip


def make_layers(candidate: Candidate) -> tuple[LayerReport, ...]:
    full = {layer.name: layer.out_channels for layer in candidate.architecture.layers(CLASSES)}
    return tuple(
        LayerReport(
            name=layer.name, block=layer.block, kind=layer.kind, in_channels=layer.in_channels,
            out_channels=layer.out_channels, kernel=layer.kernel, parameters=layer.parameters,
            macs=layer.macs, format=candidate.plan.format_of(layer.name),
            ran="float" if candidate.plan.format_of(layer.name) == "fp32" else "integer",
            unpruned_channels=full[layer.name],
        )
        for layer in candidate.layers(CLASSES)
    )  # fmt: skip


def make_evaluation(candidate: Candidate, *, phase: str = "final", correct: int = 170, **changes: Any) -> Evaluation:
    integer = tuple(candidate.plan.formats)
    given = {
        "candidate_id": candidate.id,
        "structure_id": candidate.structure_id(CLASSES),
        "phase": phase,
        "seed": 0,
        "state": State.COMPLETE,
        "epochs": 20,
        "budget": 20,
        "target": "cpu",
        "measurement": make_measurement(candidate),
        "validation": score(correct, IMAGES),
        "test": score(min(correct + 3, IMAGES), IMAGES) if phase == "final" else None,
        "train_accuracy": 0.985,
        "parity": Parity(
            images=128, max_difference=0.011, tolerance=0.02, within_tolerance=1.0, argmax_agreement=1.0,
            clear_margin_disagreements=0, accuracy_difference=0.0,
        ),
        "asked_integer": integer,
        "ran_integer": integer,
        "layers": make_layers(candidate),
        "seconds": {"costs": 0.61, "train": 7.2, "fine-tune": 2.9, "quantize": 4.4, "latency": 1.1},
        "started_at": "2026-11-21T09:30:00+00:00",
        "machine": {"system": "Linux", "torch": "2.13.0", "onnxruntime": "1.31.0"},
    }  # fmt: skip
    return Evaluation(**(given | changes))


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _costs(measurement: Measurement) -> dict[str, Any]:
    costs = {name: int(value) for name, value in measurement.costs("cpu").items() if name != "latency_ms"}
    return {
        **costs,
        "latency_ms": measurement.latency["cpu"].latency_ms,
        "latency_ms@cpu2": measurement.latency["cpu2"].latency_ms,
    }


def _search_row(run: RunFolder, number: int, *, artifacts: bool) -> dict[str, Any]:
    candidate, rng = make_candidate(run.study, number), random.Random(number)
    row = {
        "number": number, "state": "COMPLETE", "reason": "", "id": candidate.id, "seed": number,
        "attempts": 1, "structure_id": candidate.structure_id(CLASSES), "fidelity": 1.0,
        "epochs": 20, "seconds": 16.2,
        "started_at": f"2026-11-21T{9 + number // 60 % 12:02}:{number % 60:02}:00+00:00",
        "artifact": f"artifacts/{candidate.id}/search-{number}",

        "params_stem.width": candidate.architecture.stem.width,
    } | _costs(make_measurement(candidate))  # fmt: skip
    if row["latency_ms"] > 0.09:
        reason = INFEASIBLE_REASON.format(row["latency_ms"])
        return row | {
            "state": "INFEASIBLE",
            "reason": reason,
            "violation": "latency_ms=0.17; macs=2e-05",
            "artifact": "",
            "epochs": 0,
            "fidelity": 0.0,
        }
    if number % 17 == 11:
        return row | {
            "state": "FAILED",
            "reason": "training diverged: loss is nan in epoch 1",
            "artifact": "",
        }
    if number % 19 == 13:
        return row | {"state": "DUPLICATE", "reason": "same candidate as trial 3", "artifact": ""}
    correct = int(172 - 900 / candidate.parameters(CLASSES) ** 0.42 + rng.uniform(-9, 4))
    if artifacts:
        _write_artifact(run, row["artifact"], make_evaluation(candidate, phase="search", correct=correct))
    found = score(correct, IMAGES)
    measured = {"accuracy": found.accuracy, "accuracy_se": found.se, "train_accuracy": 0.98}
    return row | measured | structure_of(make_layers(candidate))


def _write_artifact(run: RunFolder, artifact: str, evaluation: Evaluation) -> None:
    folder = run.path / artifact
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(evaluation.model_dump_json())
    (folder / "model.onnx").write_bytes(b"onnx")


def _members(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("parameters", "latency_ms", "size_bytes")
    kept = non_dominated([[-row["accuracy"], *(row[key] for key in keys)] for row in rows]) if rows else []
    return [row for row, keep in zip(rows, kept, strict=True) if keep]


def _finalist(run: RunFolder, row: dict[str, Any]) -> dict[str, Any]:
    candidate = make_candidate(run.study, row["number"])
    evaluation = make_evaluation(candidate, correct=min(IMAGES, round(row["accuracy"] * IMAGES) + 4))
    artifact = f"artifacts/{candidate.id}/final-0"
    _write_artifact(run, artifact, evaluation)
    assert evaluation.validation is not None
    assert evaluation.test is not None
    costs = {key: row[key] for key in ("parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes")}
    return costs | {
        "trial": row["number"], "id": candidate.id, "search_accuracy": row["accuracy"], "state": "COMPLETE",
        "accuracy": evaluation.validation.accuracy, "accuracy_se": evaluation.validation.se,
        "artifact": artifact, "test_accuracy": evaluation.test.accuracy,
        "test_accuracy_se": evaluation.test.se,
    }  # fmt: skip


def build_run(
    folder: Path, *, trials: int = 40, finalists: int = 8, artifacts: bool = True, study: Study | None = None
) -> RunFolder:
    """A run folder with `trials` search trials; `finalists=0` leaves it before the final stage."""
    run = RunFolder(folder, study or make_study())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(dump_study(run.study))
    run.trials = [_search_row(run, number, artifacts=artifacts) for number in range(trials)]
    # Without flags, as the first versions wrote it: the records of the artifacts tell.
    columns = (*(name for name in TRIAL_COLUMNS if name != "flags"), "latency_ms@cpu2", "params_stem.width")
    write_csv(folder / "trials.csv", columns, run.trials)
    front = _members(run.state("COMPLETE"))
    if finalists:
        run.finalists = [_finalist(run, row) for row in front[:finalists]]
        write_csv(folder / "finalists.csv", FINALIST_COLUMNS, run.finalists)
        front = _members(run.finalists)
    else:
        front = [row | {"trial": row["number"], "search_accuracy": row["accuracy"]} for row in front]
    shown = [{key: row[key] for key in FRONT_COLUMNS if key in row} for row in front]
    write_csv(folder / "front.csv", FRONT_COLUMNS, shown)
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """build_run into a fresh folder: make_run(trials=..., finalists=..., ...)."""

    def make(name: str = "digits-demo", **options: Any) -> RunFolder:
        return build_run(tmp_path / name, **options)

    return make


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture
def new_study() -> Callable[..., Study]:
    return make_study


@pytest.fixture
def new_candidate() -> Callable[..., Candidate]:
    return make_candidate


@pytest.fixture
def new_evaluation() -> Callable[..., Evaluation]:
    return make_evaluation
