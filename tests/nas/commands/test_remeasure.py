"""`nas run --remeasure`: a run whose device is another one now, with workers that evaluate by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import by_hand
import pytest
from by_hand import Script, Workers, different, evaluated, make_study, measured, read, task_of
from rich.console import Console

import nas.commands.run
import nas.measuring.again
import nas.measuring.latency_benchmark
import nas.measuring.places
from nas.candidates.candidate import Candidate
from nas.commands.remeasure import SUCCESSOR, Outdated, Remeasuring
from nas.errors import InputError
from nas.executors.engine import OnThisMachine
from nas.executors.loop import WorkFailed
from nas.measuring.again import FEASIBLE_NOW
from nas.measuring.places import PlaceLost
from nas.records import Evaluation, Fingerprint, Latency, State
from nas.registry import ENGINES
from nas.run_folder.exchange import MARKER
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.runtimes.onnxruntime import fingerprint
from nas.search.search import Search
from nas.study import Study, Target
from nas.study.file import load_study
from nas.tasks import Task

LIMIT_MS = 0.06  # of what is drawn some are faster, some slower
HERE = fingerprint(Target(name="cpu")).model_copy(update={"device": "another"})


class Device:
    """Another machine: `factor` times as fast. Its files are what is written of candidates instead of networks."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.files: list[str] = []
        self.lost_after: int | None = None

    def fingerprint(self, target: Target) -> Fingerprint:
        return HERE

    def measure(self, file: Path, target: Target) -> Latency:
        if self.lost_after == len(self.files):
            raise PlaceLost("target cpu: no answer for 10 minutes")
        self.files.append(file.name)
        usual = measured(Candidate.from_json(json.loads(file.read_bytes()))).latency["cpu"]
        return usual.model_copy(update={"latency_ms": usual.latency_ms / self.factor, "fingerprint": HERE})


def the_study(**search: Any) -> Study:
    study = make_study(
        **{"trials": 6, "finalists": 0, "workers": 2, "population": 4, **search}, constraints={"latency_ms": LIMIT_MS}
    )
    return study.model_copy(update={"objectives": ("accuracy", "latency_ms"), "baseline": False})


Start = Callable[..., bool]
Move = Callable[..., Device]


@pytest.fixture
def start(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setitem(ENGINES, "local", OnThisMachine(lambda s: Workers(s.folder.path, s.workers, s.threads, {})))

    def untrained(candidate: Candidate, *_: Any) -> bytes:
        return json.dumps(candidate.to_json()).encode()

    monkeypatch.setattr(nas.measuring.latency_benchmark, "untrained_file", untrained)

    def run(*, remeasures: bool = False, **search: Any) -> bool:
        return nas.commands.run.run(the_study(**search), folder.path, Console(quiet=True), remeasures=remeasures)

    return run


@pytest.fixture
def moved(start: Start, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Run the study where it begins, then move it to a device."""

    def move(factor: float, **search: Any) -> Device:
        assert start(**search)
        device = Device(factor)
        monkeypatch.setattr(by_hand, "fingerprint", lambda _: HERE)
        monkeypatch.setattr(nas.measuring.places, "fingerprint", lambda _: HERE)
        monkeypatch.setattr(nas.measuring.places, "measure", device.measure)
        return device

    return move


def records(folder: RunFolder) -> dict[str, Evaluation]:
    found = {folder.relative(path): read_evaluation(path) for path in (folder.path / "artifacts").glob("*/*")}
    return {name: one for name, one in found.items() if one is not None}


def latency_of(record: Evaluation) -> float:
    return record.known["latency_ms"]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_everything_says_what_is_measured_here(folder: RunFolder, start: Start, moved: Move, factor: float) -> None:
    device = moved(factor, finalists=2)
    before, table, point = records(folder), read(folder, "trials"), load_study(folder.study).report
    with pytest.raises(InputError, match=r"device: .* -> another\n.*nas run --remeasure"):
        start()
    assert start(remeasures=True, trials=3)
    after = records(folder)
    assert set(before) <= set(after)
    for name, record in before.items():
        assert latency_of(after[name]) == pytest.approx(latency_of(record) / factor)
        assert after[name].validation == record.validation
        assert after[name].measurement.latency["cpu"].fingerprint == HERE  # type: ignore[union-attr]
    rows = {row["number"]: row for row in read(folder, "trials")}
    for old in table:
        new = rows[old["number"]]
        assert float(new["latency_ms"]) == pytest.approx(float(old["latency_ms"]) / factor)
        assert (new["accuracy"], new["params_head.width"]) == (old["accuracy"], old["params_head.width"])
        is_slow = float(new["latency_ms"]) > LIMIT_MS
        if old["state"] in ("COMPLETE", "INFEASIBLE"):
            lost = "INFEASIBLE" if is_slow else old["state"] if old["accuracy"] else "FAILED"
            assert (new["state"], new["reason"] == FEASIBLE_NOW) == (lost, lost == "FAILED")
    states = {(old["state"], rows[old["number"]]["state"]) for old in table}
    assert (("COMPLETE", "INFEASIBLE") if factor < 1 else ("INFEASIBLE", "FAILED")) in states
    assert load_study(folder.study).report != point
    left = {path.name for path in folder.path.iterdir()}
    assert not left & {MARKER, "study.log.before", ".study.log.again"}
    files = list(device.files)
    assert start(remeasures=True, trials=8), "nothing is left to measure again, and the search goes on"
    assert device.files == files
    assert sum(row["state"] == "COMPLETE" for row in read(folder, "trials")) >= 8
    assert set(load_study(folder.study).report.hypervolume_reference) == {"accuracy", "latency_ms"}


def test_a_stopped_one_goes_on_where_it_was(folder: RunFolder, start: Start, moved: Move) -> None:
    """Of two trials the files are kept: they come first, and others of their structure are not measured."""
    device = moved(2.0)
    before, journal = records(folder), folder.journal.read_bytes()
    search = Search(the_study(), folder)
    for row in [row for row in search.rows() if row.state == "COMPLETE"][:2]:
        kept = folder.path / row.artifact / "model.onnx"
        kept.write_text(json.dumps(search.notes(row.number).candidate.to_json()))
    folder.journal.write_bytes(journal)
    device.lost_after = 2
    with pytest.raises(WorkFailed, match="no answer for 10 minutes; what was measured again is kept"):
        start(remeasures=True)
    assert (records(folder), folder.journal.read_bytes()) == (before, journal)
    with pytest.raises(InputError, match="nas run --remeasure"):
        start()
    structures = {record.structure_id for record in before.values()}
    device.lost_after = None
    assert start(remeasures=True, trials=3)
    assert len(device.files) == len(structures)
    assert device.files[:2] == ["model.onnx"] * 2
    assert not list(folder.path.rglob(SUCCESSOR))


def test_what_weights_decided_has_a_latency_of_its_own(folder: RunFolder, start: Start, script: Script) -> None:
    """Asked for the same, two trainings came to different networks; a third came to that of the first."""
    study, candidate = the_study(), different(1)[0]
    script([candidate])
    task_of(Search(study, folder))
    device, group = Device(2.0), candidate.groups()[0].name
    remeasuring = Remeasuring(study, folder, {"cpu": device}, 10)
    kept, found = [1, 2, 1], list[float]()
    for seed, channels in enumerate(kept):
        own = folder.artifact(candidate.id, "repeat", seed)
        task = Task(seed, candidate, "repeat", seed, 8, own)
        write_evaluation(own, evaluated(task, study, State.COMPLETE, resulted={"kept": {group: channels}}))
        remeasuring.record(Outdated(own, study.targets, has_file=False), {"cpu": HERE})
        found.append(latency_of(Evaluation.model_validate_json((own / SUCCESSOR).read_bytes())))
    shipped = [measured(candidate.as_recorded({"kept": {group: channels}})) for channels in kept]
    assert found == [one.latency["cpu"].latency_ms / 2 for one in shipped]
    assert found[0] == found[2] != found[1]
    assert len(device.files) == 2


@pytest.mark.parametrize("deadly", [1, 3])
def test_a_death_while_files_are_exchanged(
    folder: RunFolder, start: Start, moved: Move, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    moved(2.0)
    before, replace, count = records(folder), Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        count += self.name == SUCCESSOR
        if count == deadly:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        start(remeasures=True, trials=3)
    monkeypatch.setattr(Path, "replace", replace)
    assert (folder.path / MARKER).exists()
    assert (folder.path / "study.log.before").exists()
    assert start(trials=3), "no flag: it was decided"
    after = records(folder)
    assert all(latency_of(after[name]) == pytest.approx(latency_of(record) / 2) for name, record in before.items())
    assert not (folder.path / MARKER).exists()
