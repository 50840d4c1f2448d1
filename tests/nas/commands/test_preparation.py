"""What a run folder fixes, and what a run refuses before any work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from by_hand import Run, different, make_study, measured, read
from drawn import draw, study
from rich.console import Console

import nas.commands.preparation
import nas.measuring.again
import nas.measuring.places
from nas.commands.preparation import _keep_split, connected, measured_otherwise, prepare, resolve
from nas.data import load
from nas.errors import InputError
from nas.measuring.places import places_of
from nas.run_folder.paths import RunFolder
from nas.runtimes.onnxruntime import fingerprint
from nas.study import Study, Target
from nas.study.file import dump_study, load_study


def test_reference_point_is_fixed_and_kept_in_a_longer_search(folder: RunFolder, run: Run) -> None:
    assert run(trials=5)
    point = load_study(folder.study).report.hypervolume_reference
    assert set(point) == {"accuracy", "parameters", "size_bytes"}
    first = [row for row in read(folder, "trials") if row["state"] == "COMPLETE"][:4]
    assert point["size_bytes"] == pytest.approx(1.1 * max(int(row["size_bytes"]) for row in first))
    assert point["accuracy"] == pytest.approx(min(float(row["accuracy"]) for row in first) / 1.1)
    assert run(trials=8)
    assert load_study(folder.study).report.hypervolume_reference == point


def test_a_run_does_not_go_on_with_other_latencies(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run()
    recorded = fingerprint(make_study().target)
    assert run(trials=7)
    another = recorded.model_copy(update={"runtime": "onnxruntime 0.1"})
    monkeypatch.setattr(nas.measuring.places, "fingerprint", lambda _: another)
    before = folder.study.read_text(), folder.journal.read_bytes()
    with pytest.raises(InputError, match=r"recorded -> here:\n  runtime: .* -> onnxruntime 0\.1\n"):
        run(trials=8)
    assert (folder.study.read_text(), folder.journal.read_bytes()) == before
    monkeypatch.setattr(nas.measuring.places, "fingerprint", lambda _: recorded)
    monkeypatch.setattr(nas.measuring.again, "PROTOCOL", "median of 3")
    with pytest.raises(InputError, match=r"  protocol: .* -> median of 3"):
        run(trials=8)


def test_every_target_is_measured_as_before() -> None:
    """A second target, whose latencies were recorded with another number of threads; a third was not measured."""
    recorded = measured(different(1)[0])
    both = recorded.model_copy(update={"latency": dict.fromkeys(("cpu", "wide"), recorded.latency["cpu"])})
    targets = [Target(name="cpu"), Target(name="wide", threads=2), Target(name="ov", runtime="openvino")]
    assert measured_otherwise(both.latency, targets, places_of(targets)) == ["wide: threads: 1 -> 2"]
    assert measured_otherwise(recorded.latency, targets, places_of(targets)) == []


def test_a_run_does_not_go_on_with_another_split(folder: RunFolder, run: Run) -> None:
    assert run()
    split, rows = folder.split.read_text(), read(folder, "trials")
    digest = json.loads(split)["images"]
    for changed in (split.replace("[", "[0, ", 1), split.replace(digest, digest[::-1])):
        folder.split.write_text(changed)
        with pytest.raises(InputError, match=r"split\.json: was recorded of other images.*; has the data changed"):
            run(trials=8)
    recorded = json.loads(split)
    folder.split.write_text(json.dumps({part: recorded[part] for part in ("validation", "test")}))  # an older version's
    assert run(trials=6)
    assert folder.split.read_text() == split
    assert read(folder, "trials") == rows


def test_the_population_is_fixed_when_the_run_begins(folder: RunFolder) -> None:
    first = resolve(make_study(population=None, trials=48), folder)
    assert first.search.population == 12
    folder.study.write_text(dump_study(first))
    assert resolve(make_study(population=None, trials=400), folder).search.population == 12


def test_what_auto_means_for_rungs_is_fixed_at_the_first_run(folder: RunFolder, run: Run) -> None:
    assert run(rungs="auto")
    assert load_study(folder.study).search.rungs == (0.25, 0.5)
    assert run(rungs="auto", trials=7)
    assert run(rungs=(0.25, 0.5), trials=7)
    with pytest.raises(InputError, match=r"search.rungs: \[0.25, 0.5\] -> \[0.5\]"):
        run(rungs=(0.5,), trials=7)
    assert run(rungs="auto", epoch_budget=1000.0), "the budget may change"


def test_a_recorded_split_is_kept(tmp_path: Path) -> None:
    """Also one of an earlier version, of which less was recorded; what moved is named."""
    draw(tmp_path)
    one, folder = study(tmp_path), RunFolder(tmp_path)
    data = load(one.data, input_size=8, seed=0)
    _keep_split(one, folder, data)
    whole = folder.split.read_text()
    for older in (data.split.to_json(), whole.partition(', "images"')[0] + "}", whole):
        folder.split.write_text(older)
        _keep_split(one, folder, data)
        assert folder.split.read_text() == whole
    moved = next((tmp_path / "d" / "b").iterdir())
    moved.rename(moved.with_name("zzz.png"))
    other = study(tmp_path, group_pattern=".")
    with pytest.raises(InputError, match="has the data changed"):
        _keep_split(one, folder, load(one.data, input_size=8, seed=0))
    with pytest.raises(InputError, match=r"Earlier versions read group_pattern as data\.group_scope=all"):
        _keep_split(other, folder, load(one.data, input_size=8, seed=1))
    assert folder.split.read_text() == whole


def test_what_cannot_be_run_is_told_at_once_and_before_data_are_read(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(nas.commands.preparation, "loaded_of", lambda *_: pytest.fail("data were read"))
    space = {"space": {"family": "mobile", "preset": "8px"}}
    one = Study.model_validate(
        make_study(sampler="grid", population=None).model_dump()
        | space
        | {"targets": ({"name": "ov", "runtime": "openvino"},), "training": {"device": "cuda"}}
    )
    with pytest.raises(InputError) as refused:
        with connected(one, folder, Console(quiet=True)):
            pytest.fail("an engine was reached")
    keys = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert keys == ["targets[0].runtime", "training.device", "search.sampler"]
    assert not folder.study.exists()


def test_both_parts_of_the_data_are_ready(folder: RunFolder) -> None:
    few = prepare(make_study(train_images=100), folder, Console(quiet=True))
    assert len(few.search.train) == 100
    assert len(few.finals.train) == few.train_images > 1000
