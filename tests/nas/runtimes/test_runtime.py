"""Choosing runtimes: by the targets' names, with files of their own, and refused before any work where they lack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from by_hand import make_study
from rich.console import Console
from toy_runtime import Toy

import nas.commands.preparation
import nas.commands.run
from nas.commands.refusals import refusals
from nas.errors import InputError
from nas.registry import RUNTIMES
from nas.runtimes.onnxruntime import ONNXRUNTIME
from nas.runtimes.runtime import file_names, fingerprint, missing, refuse_missing, runtime_of
from nas.study import Study, Target

CPU, WIDE = Target(name="cpu"), Target(name="wide", threads=2)
OV, OV2 = Target(name="ov", runtime="openvino"), Target(name="ov2", runtime="openvino", threads=2)


def test_a_target_names_its_runtime() -> None:
    assert runtime_of(CPU) is ONNXRUNTIME
    assert fingerprint(CPU) == ONNXRUNTIME.fingerprint(CPU)


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        pytest.param((CPU,), {"cpu": "model.onnx"}, id="one"),
        pytest.param((CPU, WIDE), {"cpu": "model.onnx", "wide": "model.onnx"}, id="two of a runtime share"),
        pytest.param((CPU, OV), {"cpu": "model.onnx", "ov": "model@ov.onnx"}, id="another runtime's stands beside"),
        pytest.param((OV, CPU), {"ov": "model.onnx", "cpu": "model@cpu.onnx"}, id="whichever comes first"),
        pytest.param(
            (CPU, OV, WIDE, OV2),
            {"cpu": "model.onnx", "ov": "model@ov.onnx", "wide": "model.onnx", "ov2": "model@ov.onnx"},
            id="two of each",
        ),
    ],
)
def test_every_runtime_has_a_file(targets: tuple[Target, ...], names: dict[str, str]) -> None:
    assert file_names(targets) == names


def test_file_names_are_known_without_the_engine(hidden: None) -> None:
    assert file_names((CPU, OV)) == {"cpu": "model.onnx", "ov": "model@ov.onnx"}


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where openvino is not installed."""
    monkeypatch.setitem(sys.modules, "openvino", None)


def test_what_is_installed_is_not_refused() -> None:
    refuse_missing((CPU, WIDE))


def test_a_runtime_that_is_not_installed_is_refused_by_name(hidden: None) -> None:
    refuse_missing((CPU,))
    with pytest.raises(InputError) as refused:
        refuse_missing((CPU, OV))
    (line,) = str(refused.value).splitlines()
    assert line.startswith("targets[1].runtime: target 'ov' needs the package openvino, which is not installed here")
    assert "pip install 'compact-nas[openvino]'" in line


def test_a_provider_that_the_package_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(InputError) as refused:
        refuse_missing((CPU.model_copy(update={"provider": "XNNPACKExecutionProvider"}), CPU))
    (line,) = str(refused.value).splitlines()
    assert line.startswith("targets[0].provider: expected one of ")
    assert "CPUExecutionProvider" in line
    assert line.endswith("which the installed onnxruntime has, got 'XNNPACKExecutionProvider'")


def test_what_another_machine_measures_needs_no_more_here_than_to_score_the_first_targets_file(hidden: None) -> None:
    """With whatever provider: the device's may be one that this machine lacks."""
    there = {"provider": "XNNPACKExecutionProvider", "agent": "http://pi5:8947"}
    refuse_missing((CPU.model_copy(update=there), OV.model_copy(update={"agent": "http://pi5:8947"})))
    refuse_missing((CPU, OV.model_copy(update={"device": "pi5"})))
    (line,) = missing((OV.model_copy(update={"agent": "http://pi5:8947"}), CPU))
    assert line.startswith("targets[0].runtime: target 'ov' needs the package openvino")


def test_every_target_that_cannot_be_used_has_its_line(hidden: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    toy = Target(name="t", runtime="toy", provider="shelf")
    with pytest.raises(InputError) as refused:
        refuse_missing((OV, CPU, toy))
    assert str(refused.value).splitlines() == missing((OV, CPU, toy))
    keys = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert keys == ["targets[0].runtime", "targets[2].provider"]


def test_a_study_for_another_machine_is_refused_by_check_as_by_run(hidden: None) -> None:
    assert list(refusals(two_targets())) == missing((CPU, OV))


def two_targets() -> Study:
    return make_study().model_copy(update={"targets": (CPU, OV)})


def test_a_run_is_refused_before_any_work(
    hidden: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_fsync: None
) -> None:
    monkeypatch.setattr(nas.commands.preparation, "loaded_of", lambda *_, **__: pytest.fail("data were read"))
    with pytest.raises(InputError, match=r"targets\[1\]\.runtime: target 'ov' needs the package openvino"):
        nas.commands.run.run(two_targets(), tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run" / "study.yaml").exists()
    assert not (tmp_path / "run" / "study.log").exists()


def test_a_study_is_read_without_any_engine(tmp_path: Path) -> None:
    """Its targets ask their runtimes for a provider, and a report asks them for file names."""
    asks = (
        "import sys\n"
        "from nas.runtimes.runtime import file_names\n"
        "from nas.study import Target\n"
        "print(sorted(file_names((Target(name='a'), Target(name='b', runtime='openvino'))).values()))\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino') if name in sys.modules])\n"
    )
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["['model.onnx', 'model@b.onnx']", "[]"]


def test_a_glance_imports_no_engine_unless_a_provider_is_asked_for() -> None:
    asks = (
        "import sys\n"
        "from nas.runtimes.runtime import missing\n"
        "from nas.study import Target\n"
        "found = []\n"
        "for target in (Target(name='a'), Target(name='a', provider='NoSuchProvider')):\n"
        "    found.append((len(missing((target,), at_a_glance=True)), 'onnxruntime' in sys.modules))\n"
        "print(found)\n"
    )
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[(0, False), (1, True)]"
