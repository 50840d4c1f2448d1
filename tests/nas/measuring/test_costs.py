"""Costs: each is read off the very file it is said of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from by_hand import different, measured
from networks import ARCHITECTURE, CLASSES, CPU, HEADER, LAYERS, MIXED, quantized

import nas.measuring.places
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.measuring.costs import doubts, layer_reports, measure_files
from nas.records import Latency
from nas.runtimes.onnxruntime import ONNXRUNTIME
from nas.runtimes.runtime import FileHeader, RuntimeRefused
from nas.study import Target

OTHER, THIRD = Target(name="other", runtime="openvino"), Target(name="third", runtime="openvino", threads=2)

DEVICES = {"more": ("head", "other", "stem"), "same": ("head", "stem"), "less": ("stem",), "none": ()}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """Latencies by hand: a file takes as many microseconds as it has bytes. Returns what was timed."""
    asked: list[tuple[Path, str]] = []
    like = measured(Candidate(architecture=ARCHITECTURE)).latency["cpu"]

    def measure(file: Path, target: Target) -> Latency:
        asked.append((file, target.name))
        if b"refuse" in file.read_bytes():
            raise RuntimeRefused("no")
        return like.model_copy(update={"latency_ms": file.stat().st_size / 1e3})

    monkeypatch.setattr(nas.measuring.places, "measure", measure)
    return asked


def write(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The first target's file is a real one; larger ones lie beside it, one of them under a name like its own."""
    first = write(tmp_path, "model.onnx", ONNXRUNTIME.emit(quantized(MIXED), HEADER))
    other = write(tmp_path, "model@other.onnx", ONNXRUNTIME.emit(quantized(MIXED), HEADER) + b"0" * 1000)
    write(tmp_path, "weights.safetensors", b"0" * 5000)
    return {"cpu": first, "other": other, "third": other}


def test_bytes_and_counts_are_the_first_targets_files(files: dict[str, Path]) -> None:
    found = measure_files(files, [CPU, OTHER], origin="shipped file")
    size = len(files["cpu"].read_bytes())
    assert found.size_bytes == size
    assert found.coded_bytes == len(ONNXRUNTIME.coded(files["cpu"])) < size
    assert measure_files(files, [CPU], origin="untrained file").coded_bytes is None  # its weights are random
    assert found.parameters == sum(layer.parameters for layer in ARCHITECTURE.layers(len(CLASSES)))
    assert found.latency["cpu"].latency_ms == size / 1e3
    assert found.latency["other"].latency_ms == (size + 1000) / 1e3
    assert found.other_costs("cpu") == {"latency_ms@other": (size + 1000) / 1e3, "size_bytes@other": size + 1000}


def test_a_file_that_grows_is_noticed(files: dict[str, Path]) -> None:
    """Nothing is remembered of a file of the same name."""
    before = measure_files(files, [CPU], origin="shipped file")
    grown = quantized(dict.fromkeys(LAYERS[:4], "int8"))
    files["cpu"].write_bytes(ONNXRUNTIME.emit(grown, HEADER))
    after = measure_files(files, [CPU], origin="shipped file")
    assert after.size_bytes == files["cpu"].stat().st_size > before.size_bytes


def test_a_shared_file_has_one_size(files: dict[str, Path]) -> None:
    found = measure_files({**files, "other": files["cpu"]}, [CPU, OTHER], origin="untrained file")
    own = {"latency_ms@other": found.latency["cpu"].latency_ms, "size_bytes@other": found.size_bytes}
    assert found.other_costs("cpu") == own
    assert found.origin == "untrained file"


def test_a_target_in_doubt_is_not_timed_but_has_its_size(files: dict[str, Path], quick: Any) -> None:
    found = measure_files(files, [CPU, OTHER, THIRD], origin="shipped file", without=("other",))
    size = files["other"].stat().st_size
    assert set(found.latency) == {"cpu", "third"}
    assert found.other_size_bytes == {"other": size, "third": size}
    assert [name for _, name in quick] == ["cpu", "third"]


def test_a_runtime_that_refuses_has_no_latency_unless_it_is_the_first(files: dict[str, Path]) -> None:
    files["other"].write_bytes(b"refuse this")
    found = measure_files(files, [CPU, OTHER], origin="shipped file")
    assert set(found.latency) == {"cpu"}
    header = FileHeader(1, 8, ("refuse", *CLASSES[1:]))
    files["cpu"].write_bytes(ONNXRUNTIME.emit(quantized(MIXED), header))
    with pytest.raises(RuntimeRefused):
        measure_files(files, [CPU, OTHER], origin="shipped file")


def test_reports_of_layers_as_shipped() -> None:
    plan = CompressionPlan(kept={"stage1.block1.inner": 8}, formats={"stem.conv": "int8", "head.conv": "int4"})
    reports = layer_reports(Candidate(architecture=ARCHITECTURE, plan=plan), len(CLASSES), frozenset({"stem.conv"}))
    found = {report.name: report for report in reports}
    assert list(found) == list(LAYERS)
    assert (found["stem.conv"].format, found["stem.conv"].ran) == ("int8", "integer")
    assert (found["head.conv"].format, found["head.conv"].ran) == ("int4", "float")
    expand = found["stage1.block1.expand"]
    assert (expand.out_channels, expand.unpruned_channels, expand.parameters) == (8, 16, 8 * 8 + 8)


def test_layers_that_are_floats_on_a_device_alone_are_flagged() -> None:
    """What runs as floats here too says nothing of the device, nor does one that was not asked."""
    measurement = measured(different(1)[0])
    (latency,) = measurement.latency.values()
    asked = {name: latency.model_copy(update={"integer_layers": layers}) for name, layers in DEVICES.items()}
    told = measurement.model_copy(update={"latency": {"cpu": latency, **asked}})
    assert doubts(told, [], ["stem", "head"]) == ("floats@less", "floats@none")
    assert doubts(told, []) == ()
