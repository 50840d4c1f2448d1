"""Studies, candidates and evaluations made by hand, for tests of what drives a search. No training here."""

from __future__ import annotations

import csv
import random
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.executors.pool import Finished
from nas.measuring.latency import PROTOCOL
from nas.objectives import excesses
from nas.records import COSTS, QUALITIES, Evaluation, Latency, Measurement, State, score
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import TrialRow, row_of
from nas.runtimes.onnxruntime import fingerprint
from nas.search.driver import Done, Driver
from nas.search.search import Search
from nas.study import Compression, Study, Target
from nas.study.file import load_study
from nas.tasks import Task, Verdict
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

SPACE = {
    "input_size": 8, "stem_widths": (8,), "head_widths": (8, 16), "kernels": (3,), "expansions": (1, 2),
    "squeeze_excite": (False,), "activations": ("relu",), "stages": ({"depths": (1, 2), "widths": (8, 16)},),
}  # fmt: skip
COMPRESSION = {"weight_format": ("fp32", "int8"), "granularity": "stage"}


def make_study(
    *, constraints: dict[str, float] | None = None, training: dict[str, Any] | None = None, **search: Any
) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": SPACE,
            "compression": COMPRESSION,
            "objectives": ("accuracy", "parameters", "size_bytes"),
            "constraints": {
                name: {"min" if name in QUALITIES else "max": float(limit)}
                for name, limit in (constraints or {}).items()
            },
            "search": {"population": 4, "sampler": "nsga2", **search},
            "training": {"epochs": 8, **(training or {})},
        }
    )


def measured(candidate: Candidate) -> Measurement:
    latency = Latency(
        latency_ms=candidate.macs(10) * 1e-6 + 0.01,
        stable=True,
        protocol=PROTOCOL,
        control_ms=1.0,
        fingerprint=fingerprint(Target(name="cpu")),
        passes_us=((10.0,),),
    )
    return Measurement(
        origin="shipped file",
        parameters=candidate.parameters(10),
        macs=candidate.macs(10),
        size_bytes=candidate.weight_bytes(10),
        peak_memory_bytes=1000 + len(candidate.layers(10)),
        latency={"cpu": latency},
    )


def evaluated(task: Task, study: Study, state: State | None = None, **fields: Any) -> Evaluation:
    """An evaluation in closed form: INFEASIBLE where costs break a constraint, else COMPLETE, unless told."""
    measurement = measured(task.candidate)
    broken = excesses(measurement.costs("cpu"), study.limits)
    state = state or (State.INFEASIBLE if broken else State.COMPLETE)
    known: dict[str, Any] = {
        "candidate_id": task.candidate.id, "structure_id": task.candidate.structure_id(10), "phase": task.phase,
        "seed": task.seed, "state": state, "budget": task.budget_in(study), "target": "cpu", "started_at": "2030",
        "seconds": {"train": 0.25, "emit": 0.5}, "training": task.training,
    }  # fmt: skip
    if state is State.INFEASIBLE:
        known |= {"measurement": measurement, "violations": broken}
    if state is State.COMPLETE:
        known |= {"measurement": measurement, "epochs": task.epochs}
        known["validation"] = score(int(task.candidate.id, 16) % 90 + 10, 100)
    return Evaluation.model_validate({**known, **fields})


def finish(driver: Driver, task: Task, state: State | None = None, **fields: Any) -> TrialRow:
    """What a worker and the loop do: write evaluation.json, tell."""
    write_evaluation(task.folder, evaluated(task, driver.study, state, **fields))
    read = read_evaluation(task.folder)
    assert read is not None
    return driver.finish(task, read)


def drive(driver: Driver) -> Done:
    """To the end with one worker."""
    while isinstance(answer := driver.propose(), Task):
        finish(driver, answer)
    assert isinstance(answer, Done)
    return answer


def task_of(driver: Driver) -> Task:
    task = driver.propose()
    assert isinstance(task, Task)
    return task


def different(count: int) -> list[Candidate]:
    """Candidates of another, larger space, for tests that script what is drawn."""
    space = MobileSpace.model_validate({"preset": "8px"})
    pick = Pick(random.Random(0).choice)
    found: dict[str, Candidate] = {}
    while len(found) < count:
        candidate = sample(pick, space, Compression(), input_channels=1)
        found[candidate.id] = candidate
    return list(found.values())


Script = Callable[[Iterable[Candidate]], None]


def states(search: Search) -> list[str]:
    return [row.state for row in search.rows()]


def summary(search: Search) -> tuple[list[str], list[TrialRow]]:
    return [search.notes(trial.number).candidate.id for trial in search.journal.trials()], search.rows()


def row(number: int, accuracy: float | None, parameters: int, size: int, **fields: Any) -> TrialRow:
    """A complete trial's row, unless `fields` say otherwise; they may be costs too."""
    costs = {"parameters": parameters, "size_bytes": size} | {k: fields.pop(k) for k in COSTS if k in fields}
    fields["state"] = State(fields.get("state", State.COMPLETE))
    return TrialRow(number, **{"id": f"{number:012}", "accuracy": accuracy, "costs": costs, **fields})


NUMBERS = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "mixup": {"choices": (0.0, 0.2)}}


@dataclass
class Workers:
    """An executor that evaluates by hand; `press` says after how many results Ctrl-C comes, and how often."""

    folder: Path
    count: int
    threads: int
    press: dict[int, int] = field(default_factory=dict)
    running: list[Task] = field(default_factory=list)
    results: int = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answer(self, task: Task, verdict: Verdict) -> None:
        pass

    @property
    def idle(self) -> int:
        return self.count - len(self.running)

    def submit(self, task: Task) -> None:
        self.running.append(task)

    def wait(self, _: float) -> list[Finished]:
        for _press in range(self.press.get(self.results, 0)):
            signal.raise_signal(signal.SIGINT)
        self.results += 1
        task = self.running.pop(0)
        passed = {"test": score(50, 100)} if task.phase == "final" else {}
        write_evaluation(task.folder, evaluated(task, load_study(self.folder / "study.yaml"), **passed))
        return [Finished(task, task.folder)]


Run = Callable[..., bool]


def read(folder: RunFolder, name: str) -> list[dict[str, str]]:
    return Table(folder.path / f"{name}.csv", []).read()


@dataclass
class Table:
    file: Path
    columns: list[str]
    rows: list[dict[str, str]] = field(default_factory=list)

    def read(self) -> list[dict[str, str]]:
        with self.file.open(newline="") as file:
            return list(csv.DictReader(file))


def evaluated_row(study: Study, folder: RunFolder, **fields: Any) -> TrialRow:
    candidate = different(1)[0]
    task = Task(3, candidate, "search", 1, 8, folder.path)
    return row_of(evaluated(task, study, **fields), number=3, artifact="artifacts/x", params={"head.width": 16})
