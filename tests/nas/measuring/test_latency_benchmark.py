"""The process that measures untrained candidates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from drafts import residual
from known_networks import architecture_of
from synthetic_machine import CLASSES, drawn
from toy_runtime import Toy

import nas.measuring.latency_benchmark as benchmark
import nas.measuring.turns
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.measuring.calibration import Job, job_of
from nas.measuring.latency_benchmark import Meter, run, untrained_file
from nas.registry import RUNTIMES
from nas.runtimes.runtime import CONTROL_SHAPE, Array, runtime_of
from nas.study import Target
from nas.study.file import load_study
from search_spaces.existing import known
from search_spaces.kinds import OWN_KINDS
from search_spaces.trials import Pick

OWN_BLOCK = Path(__file__).parents[3] / "studies" / "own-block" / "own-block.yaml"
CPU = Target(name="cpu")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else on the machine is waited for, or made to wait."""
    monkeypatch.setattr(nas.measuring.turns, "PLACES", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def job(seconds: float, *targets: Target) -> Job:
    told = tuple(candidate.to_json() for candidate in drawn(2))
    return Job(num_classes=CLASSES, targets=targets or (CPU,), seconds=seconds, candidates=told)


def test_candidates_are_measured_in_their_order() -> None:
    lines = list(run(job(60)))
    assert [line["number"] for line in lines] == [0, 1]
    found = [line["latency_ms"] for line in lines if line["latency_ms"]]
    assert all(latency.keys() == {"cpu"} and 0 < latency["cpu"] < 100 for latency in found)


def test_an_existing_network_comes_with_the_job_without_the_weights_it_begins_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture = architecture_of(residual()).model_copy(update={"weights": "0" * 12})
    told, blueprint = (Candidate(architecture=architecture).to_json(),), residual().to_json()
    monkeypatch.setattr(known, "_blueprints", {})
    monkeypatch.setattr(benchmark.Meter, "least_us", lambda *_: 2000.0)
    asked = Job(num_classes=CLASSES, targets=(CPU,), seconds=60, candidates=told, blueprint=blueprint)
    (line,) = run(Job.model_validate_json(asked.model_dump_json()))
    assert line == {"number": 0, "latency_ms": {"cpu": 2.0}}


def test_kinds_of_ones_own_come_with_the_job_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has read no study, which would have made them known."""
    study = load_study(OWN_BLOCK)
    candidate = sample(Pick(lambda choices: choices[0]), study.space, study.compression, input_channels=1)
    asked = job_of(study, [candidate], CLASSES).model_dump_json()
    assert '"kind":"separable:SeparableResidual"' in asked
    monkeypatch.delitem(OWN_KINDS, "separable:SeparableResidual")
    monkeypatch.setattr(benchmark.Meter, "least_us", lambda *_: 2000.0)
    (line,) = run(Job.model_validate_json(asked).model_copy(update={"seconds": 60}))
    assert line == {"number": 0, "latency_ms": {"cpu": 2.0}}


def test_it_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(benchmark.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(benchmark, "measured", lambda *_: {"cpu": 1.0})
    assert len(list(run(job(1)))) == 1


def test_a_file_holds_what_the_candidate_says(tmp_path: Path) -> None:
    for candidate in drawn(3):
        file = tmp_path / "model.onnx"
        file.write_bytes(untrained_file(candidate, CLASSES, CPU))
        costs = runtime_of(CPU).costs(file)
        assert (costs.parameters, costs.macs) == (candidate.parameters(CLASSES), candidate.macs(CLASSES))


def test_a_target_that_refuses_a_file_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "toy", Toy(refuses=True))
    other = Target(name="other", runtime="toy", provider="table")
    lines = list(run(job(60, CPU, other)))
    assert all("other" not in line["latency_ms"] for line in lines)


class Scripted:
    """A runner whose calls take what a list says, by pass."""

    def __init__(self, by_pass: list[float]) -> None:
        self.by_pass, self.calls = by_pass, 0

    def time_us(self, image: Array, runs: int) -> list[float]:
        self.calls += 1
        return [self.by_pass[min((self.calls - 1) // benchmark.BLOCKS, len(self.by_pass) - 1)]] * runs

    def predict(self, images: Array, *, batch: int = 128) -> Array:
        raise NotImplementedError

    def input_shape(self) -> tuple[int, int, int]:
        return CONTROL_SHAPE[1:]


def meter(monkeypatch: pytest.MonkeyPatch, network: list[float], control: list[float]) -> float | None:
    """What a meter finds where control and network take this in each pass; the control is usually at 20."""
    found = Meter(CPU)
    found.control, found.usual_us = Scripted(control), 20.0
    runner = Scripted(network)
    monkeypatch.setattr(type(runtime_of(CPU)), "open", lambda *_: runner)
    runner.calls = -1  # the warm-up is no pass
    return found.least_us(b"")


def test_a_disturbed_pass_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meter(monkeypatch, [70.0, 50.0], [30.0, 20.5]) == 50.0


def test_a_machine_that_stays_disturbed_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meter(monkeypatch, [70.0], [30.0]) is None
